"""Cases about one answer: its status, its header, the length and the encodings of its body."""

import gzip
import zlib

from case import answer, case, cut, head, step, whole


def bodies():
    case('body-length', whole())
    case('body-empty', whole(''))
    case('body-chunked', answer(head('Transfer-Encoding: chunked')
                                + b'3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n'))
    case('body-chunked-capital', answer(head('Transfer-Encoding: Chunked') + b'1\r\na\r\n0\r\n\r\n'))
    case('body-chunked-empty', answer(head('Transfer-Encoding: chunked') + b'0\r\n\r\n'))
    case('body-to-end', cut(head() + b'to the end'))
    case('body-to-end-close', cut(head('Connection: close') + b'to the end'))
    case('body-http10', cut(head(version='HTTP/1.0') + b'old'))
    case('body-http10-keep', answer(head('Connection: keep-alive', 'Content-Length: 3',
                                         version='HTTP/1.0') + b'old'))
    case('body-http10-chunked', cut(head('Transfer-Encoding: chunked', version='HTTP/1.0')
                                    + b'1\r\na\r\n0\r\n\r\n'))
    for status in ('204 No Content', '304 Not Modified'):
        code = status[:3]
        case(f'body-{code}', answer(head(status=status)))
        case(f'body-{code}-length', answer(head('Content-Length: 5', status=status)))
        case(f'body-{code}-chunked', cut(head('Transfer-Encoding: chunked', status=status)))
    case('body-205', whole('', status='205 Reset Content'))
    case('body-205-length', whole('body', status='205 Reset Content'))
    case('body-head', answer(head('Content-Length: 5')), step('HEAD'))
    case('body-head-chunked', answer(head('Transfer-Encoding: chunked')), step('HEAD'))
    case('body-head-none', answer(head()), step('HEAD'))
    case('body-chunk-extension', answer(head('Transfer-Encoding: chunked')
                                        + b'1;a=b;c="d"\r\na\r\n0;x\r\n\r\n'))
    case('body-chunk-trailers', answer(head('Transfer-Encoding: chunked')
                                       + b'1\r\na\r\n0\r\nX-Trailer: 1\r\nY: 2\r\n\r\n'))
    case('body-chunk-hex', answer(head('Transfer-Encoding: chunked')
                                  + b'000A\r\n0123456789\r\na\r\n0123456789\r\n0000\r\n\r\n'))
    case('body-kept', [whole('one'), whole('two')], step(), step(url='http://{A}/2'))
    case('body-length-zeros', answer(head('Content-Length: 004') + b'body'))


def broken_bodies():
    chunked = head('Transfer-Encoding: chunked')
    case('bad-body-short', cut(head('Content-Length: 10') + b'short'))
    case('bad-body-none', cut(head('Content-Length: 10')))
    case('bad-body-long', cut(head('Content-Length: 2') + b'too long'))
    case('bad-chunk-size', cut(chunked + b'zz\r\na\r\n0\r\n\r\n'))
    case('bad-chunk-negative', cut(chunked + b'-1\r\na\r\n0\r\n\r\n'))
    case('bad-chunk-plus', cut(chunked + b'+1\r\na\r\n0\r\n\r\n'))
    case('bad-chunk-prefix', cut(chunked + b'0x1\r\na\r\n0\r\n\r\n'))
    case('bad-chunk-underscore', cut(chunked + b'1_0\r\n0123456789abcdef\r\n0\r\n\r\n'))
    case('bad-chunk-empty-size', cut(chunked + b'\r\na\r\n0\r\n\r\n'))
    case('bad-chunk-blank-before', cut(chunked + b' 1\r\na\r\n0\r\n\r\n'))
    case('bad-chunk-blank-after', cut(chunked + b'1 \r\na\r\n0\r\n\r\n'))
    case('bad-chunk-end', cut(chunked + b'1\r\nab\r\n0\r\n\r\n'))
    case('bad-chunk-cut', cut(chunked + b'5\r\nab'))
    case('bad-chunk-cut-size', cut(chunked + b'5'))
    case('bad-chunk-no-last', cut(chunked + b'1\r\na\r\n'))
    case('bad-chunk-no-trailer-end', cut(chunked + b'1\r\na\r\n0\r\n'))
    case('bad-chunk-huge', cut(chunked + b'ffffffffffffffffff\r\na\r\n0\r\n\r\n'))
    case('bad-chunk-line-feeds', cut(chunked + b'1\na\n0\n\n'))
    case('bad-chunk-none', cut(chunked))
    case('bad-chunk-trailer', cut(chunked + b'1\r\na\r\n0\r\nno colon\r\n\r\n'))


def heads():
    case('head-duplicates', whole('', 'X: 1', 'Y: 2', 'x: 3'))
    case('head-blanks', whole('', 'X: \t a b \t ', 'Y:none', 'Z:'))
    case('head-latin1', whole('', 'X: \xe4\xf6'))
    case('head-utf8', whole('', 'X: \xc3\xa4'))
    case('head-quoted', whole('', 'X: "a, b; c"'))
    case('head-tokens', whole('', "!#$%&'*+-.^_`|~: 1"))
    case('head-line-feeds', answer(b'HTTP/1.1 200 OK\nX: 1\nContent-Length: 4\n\nbody'))
    case('head-folded', answer(head('X: one\r\n two\r\n\tthree', 'Content-Length: 0')))
    case('head-folded-empty', answer(head('X:\r\n two', 'Content-Length: 0')))
    case('head-folded-first', answer(head(' folded', 'Content-Length: 0')))
    case('head-empty-line-first', answer(b'\r\n' + head('Content-Length: 0')))
    case('head-no-fields', cut(head()))
    case('head-99-fields', whole('', *(f'X{i}: 1' for i in range(98))))
    case('head-100-fields', whole('', *(f'X{i}: 1' for i in range(99))))
    case('head-101-fields', whole('', *(f'X{i}: 1' for i in range(100))))
    case('head-127-fields', whole('', *(f'X{i}: 1' for i in range(126))))
    case('head-200-fields', whole('', *(f'X{i}: 1' for i in range(199))))
    for size in (8000, 8188, 8300, 65000, 65533, 70000, 110000):
        case(f'head-line-{size}', whole('', 'X: ' + 'x' * (size - 3)))
    case('head-name-8300', whole('', 'X' * 8300 + ': 1'))
    case('head-reason-9000', whole('', status='200 ' + 'x' * 9000))
    case('head-interim', answer(head('X: 1', status='100 Continue')
                                + head('Content-Length: 0', 'Y: 1')))
    case('head-interim-many', answer(head('X: 1', status='100 Continue') * 5
                                     + head('Content-Length: 0')))
    case('head-interim-103', answer(head('Link: x', status='103 Early Hints')
                                    + head('Content-Length: 0')))
    case('head-interim-102', answer(head(status='102 Processing') + head('Content-Length: 0')))
    case('head-interim-alone', cut(head(status='100 Continue')))
    case('head-101', cut(head('Upgrade: x', 'Connection: upgrade',
                              status='101 Switching Protocols')))


def broken_heads():
    case('bad-head-nothing', cut(b''))
    case('bad-head-garbage', cut(b'220 mail.example.com ESMTP\r\n'))
    case('bad-head-html', cut(b'<html>no head</html>'))
    case('bad-head-blank-before-colon', cut(head('X : 1', 'Content-Length: 0')))
    case('bad-head-blank-in-name', cut(head('X Y: 1', 'Content-Length: 0')))
    case('bad-head-no-colon', cut(head('X', 'Content-Length: 0')))
    case('bad-head-no-name', answer(head(': 1', 'Content-Length: 0')))
    case('bad-head-nul', answer(head('X: a\0b', 'Content-Length: 0')))
    case('bad-head-nul-name', cut(head('X\0Y: b', 'Content-Length: 0')))
    case('bad-head-return', cut(head('X: a\rb', 'Content-Length: 0')))
    case('bad-head-control', answer(head('X: a\x01b', 'Content-Length: 0')))
    case('bad-head-delete', answer(head('X: a\x7fb', 'Content-Length: 0')))
    case('bad-head-latin1-name', cut(head('X\xe4: 1', 'Content-Length: 0')))
    case('bad-head-bracket-name', answer(head('X[]: 1', 'Content-Length: 0')))
    case('bad-head-cut-status', cut(b'HTTP/1.1 200 OK\r\n'))
    case('bad-head-cut-field', cut(b'HTTP/1.1 200 OK\r\nX: 1'))
    case('bad-head-cut-line', cut(b'HTTP/1.1 200 OK\r\nX: 1\r\n'))
    case('bad-head-cut-version', cut(b'HTTP/1.'))


def statuses():
    for status in ('200', '200 ', '200  two', '299 Odd', '404 Not Found', '500 Internal', '599 x',
                   '600 x', '999 x', '200 \xe4', '200 \xc3\xa4', '200 a\tb'):
        case('status-' + status.encode('unicode_escape').decode().replace(' ', '_'),
             whole(status=status))
    for name, line in {
            'none': 'HTTP/1.1', 'blank': 'HTTP/1.1 ', 'two-digits': 'HTTP/1.1 20 OK',
            'four-digits': 'HTTP/1.1 2000 OK', 'letters': 'HTTP/1.1 abc OK',
            'negative': 'HTTP/1.1 -20 OK', 'glued': 'HTTP/1.1 200OK', 'zero': 'HTTP/1.1 000 OK',
            '099': 'HTTP/1.1 099 OK', 'tab': 'HTTP/1.1\t200\tOK', 'blanks': 'HTTP/1.1  200 OK',
            'lower': 'http/1.1 200 OK', 'version-2': 'HTTP/2 200 OK',
            'version-2.0': 'HTTP/2.0 200 OK', 'version-0.9': 'HTTP/0.9 200 OK',
            'version-1.2': 'HTTP/1.2 200 OK', 'version-1.10': 'HTTP/1.10 200 OK',
            'version-none': 'HTTP/ 200 OK', 'icy': 'ICY 200 OK', 'before': ' HTTP/1.1 200 OK',
    }.items():
        case('status-line-' + name, cut(f'{line}\r\nContent-Length: 4\r\n\r\nbody'))


def lengths():
    for name, value in {'plus': '+4', 'minus': '-4', 'hex': '0x4', 'empty': '', 'letters': 'abc',
                        'tail': '4abc', 'fraction': '4.0', 'list-same': '4, 4',
                        'list-other': '4, 5', 'underscore': '0_4', 'huge': '9' * 30,
                        'blank-in': '4 4'}.items():
        case('length-' + name, cut(head(f'Content-Length: {value}') + b'body'))
    case('length-twice-same', cut(head('Content-Length: 4', 'Content-Length: 4') + b'body'))
    case('length-twice-other', cut(head('Content-Length: 4', 'Content-Length: 2') + b'body'))
    both = ['Content-Length: 2', 'Transfer-Encoding: chunked']
    case('length-and-chunked', cut(head(*both) + b'4\r\nbody\r\n0\r\n\r\n'))
    case('length-after-chunked', cut(head(*both[::-1]) + b'4\r\nbody\r\n0\r\n\r\n'))
    for name, value in {'gzip': 'gzip', 'identity': 'identity', 'unknown': 'x',
                        'gzip-chunked': 'gzip, chunked', 'twice': 'chunked, chunked',
                        'chunked-gzip': 'chunked, gzip', 'empty': '',
                        'tab': '\tchunked', 'prefix': 'xchunked', 'quoted': '"chunked"'}.items():
        case('coding-' + name, cut(head(f'Transfer-Encoding: {value}') + b'4\r\nbody\r\n0\r\n\r\n'))


def encodings():
    text = b'compressed text ' * 20
    packed = gzip.compress(text, mtime=0)
    bare = zlib.compressobj(wbits=-15)
    raw = bare.compress(text) + bare.flush()

    def encoded(name, coding, body, **arguments):
        case('encoding-' + name, whole(body, f'Content-Encoding: {coding}'),
             step(**arguments))

    encoded('gzip', 'gzip', packed)
    encoded('x-gzip', 'x-gzip', packed)
    encoded('capital', 'GZIP', packed)
    encoded('deflate', 'deflate', zlib.compress(text))
    encoded('deflate-raw', 'deflate', raw)
    encoded('identity', 'identity', text)
    encoded('unknown', 'x-other', text)
    encoded('compress', 'compress', text)
    encoded('empty-name', '', text)
    encoded('twice', 'gzip, gzip', gzip.compress(packed, mtime=0))
    encoded('deflate-gzip', 'deflate, gzip', gzip.compress(zlib.compress(text), mtime=0))
    encoded('gzip-identity', 'gzip, identity', packed)
    encoded('members', 'gzip', packed + gzip.compress(b'more', mtime=0))
    encoded('garbage-after', 'gzip', packed + b'garbage')
    encoded('zeros-after', 'gzip', packed + b'\0' * 20)
    encoded('cut', 'gzip', packed[:-20])
    encoded('cut-check', 'gzip', packed[:-4])
    encoded('wrong-check', 'gzip', packed[:-8] + b'\0' * 8)
    encoded('wrong', 'gzip', text)
    encoded('wrong-deflate', 'deflate', text)
    encoded('nothing', 'gzip', b'')
    encoded('nothing-deflate', 'deflate', b'')
    encoded('one-byte', 'gzip', packed[:1])
    encoded('head', 'gzip', b'', method='HEAD')
    case('encoding-two-fields', whole(gzip.compress(zlib.compress(text), mtime=0),
                                      'Content-Encoding: deflate', 'Content-Encoding: gzip'))
    case('encoding-204', answer(head('Content-Encoding: gzip', status='204 No Content')))
    case('encoding-chunked', answer(
        head('Content-Encoding: gzip', 'Transfer-Encoding: chunked')
        + b''.join(b'%x\r\n%s\r\n' % (1, packed[i:i + 1]) for i in range(len(packed)))
        + b'0\r\n\r\n'))
    case('encoding-to-end', cut(head('Content-Encoding: gzip') + packed))


def texts():
    def text(name, field, body):
        case('text-' + name, whole(body, *([f'Content-Type: {field}'] if field else [])))

    for charset, encoding in {'utf-8': 'utf8', 'iso-8859-1': 'latin1', 'windows-1252': 'cp1252',
                              'utf-16': 'utf-16', 'UTF-16BE': 'utf-16-be', 'koi8-r': 'koi8-r',
                              'shift_jis': 'shift_jis', 'iso-2022-jp': 'iso2022_jp',
                              'gb18030': 'gb18030', 'euc-kr': 'euc-kr'}.items():
        content = 'text, \u042f'
        if encoding in ('latin1', 'cp1252'):
            content = 'text, \xe4'
        if encoding in ('shift_jis', 'iso2022_jp', 'gb18030'):
            content = 'text, \u65e5\u672c'
        if encoding == 'euc-kr':
            content = 'text, \ud55c'
        text(charset, f'text/plain; charset={charset}', content.encode(encoding))
    umlaut = '\xe4'.encode()
    text('quoted', 'text/plain; charset="utf-8"', umlaut)
    text('single-quoted', "text/plain; charset='utf-8'", umlaut)
    text('capital', 'TEXT/PLAIN; CHARSET=UTF-8', umlaut)
    text('parameters', 'text/plain; format=x; charset=utf-8; y=z', umlaut)
    text('malformed', 'text/plain; charset=utf-8', b'a\xffb\xc3')
    text('malformed-long', 'text/plain; charset=utf-8', b'\xe2\x82 \xf0\x9f\x98 \xed\xa0\x80 \xc0\x80')
    text('bom', 'text/plain; charset=utf-8', '\ufeffx'.encode())
    text('bom-sig', 'text/plain; charset=utf-8-sig', '\ufeffx'.encode())
    text('unknown', 'text/plain; charset=no-such', umlaut)
    text('empty', 'text/plain; charset=', umlaut)
    text('odd-utf-16', 'text/plain; charset=utf-16', b'a\0b')
    text('cut-iso-2022-jp', 'text/plain; charset=iso-2022-jp', b'\x1b$B\x25')
    text('ascii', 'text/plain; charset=ascii', b'a\xe4')
    text('json', 'application/json', umlaut)
    text('html', 'text/html', b'plain')
    text('none', '', b'plain')
    text('none-utf8', '', 'ein l\xe4ngerer Text mit \xdcmlauten: \xe4\xf6\xfc'.encode())
