"""The cases: what is asked, and the bytes that answer. Names are unique; README tables name them.

A case is a name, steps (requests of one session) and answers, one for each request that arrives; the
last one is for all that follow. {A}, {B} and {L} are the addresses of two origins, {L} being {A} by
another name.
"""

import gzip
import zlib

CASES = {}


def answer(data, close=False):
    if isinstance(data, str):
        data = data.encode('latin1')
    return {'bytes': data, 'close': close}


def head(*fields, status='200 OK', version='HTTP/1.1'):
    return ''.join(f'{line}\r\n' for line in (f'{version} {status}', *fields, '')).encode('latin1')


def whole(body='body', *fields, status='200 OK'):
    """A well-formed answer."""
    body = body.encode('latin1') if isinstance(body, str) else body
    return answer(head(*fields, f'Content-Length: {len(body)}', status=status) + body)


def cut(data):
    """An answer that ends with the connection."""
    return answer(data, close=True)


def step(method='GET', url='http://{A}/', **arguments):
    return {'method': method, 'url': url, **arguments}


def case(name, answers, *steps):
    assert name not in CASES, name
    answers = answers if isinstance(answers, list) else [answers]
    CASES[name] = (list(steps) or [step()], answers)


def redirect(location, status='302 Found', *fields):
    return whole('elsewhere', f'Location: {location}', *fields, status=status)


LAST = whole('last')


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


def redirects():
    for code in (300, 301, 302, 303, 304, 305, 306, 307, 308, 399):
        location = whole('' if code == 304 else 'elsewhere', 'Location: /last', status=f'{code} x')
        case(f'redirect-{code}-get', [location, LAST])
        case(f'redirect-{code}-post', [location, LAST],
             step('POST', data='sent', headers={'Content-Type': 'text/plain', 'X': '1'}))
    for code in (301, 302, 303, 307):
        location = redirect('/last', f'{code} x')
        case(f'redirect-{code}-put', [location, LAST], step('PUT', data='sent'))
        case(f'redirect-{code}-form', [location, LAST], step('POST', data={'a': 'b'}))
        case(f'redirect-{code}-head',
             [answer(head('Location: /last', 'Content-Length: 9', status=f'{code} x')),
              answer(head('Content-Length: 4'))], step('HEAD'))
    for name, location in {
            'absolute': 'http://{A}/last', 'other': 'http://{B}/last', 'name': 'http://{L}/last',
            'relative': 'last', 'up': '../last', 'dots': '/a/./b/../c', 'query': '?x=1',
            'fragment': '/last#new', 'fragment-only': '#new', 'scheme-less': '//{B}/last',
            'blank': '/a b', 'quoted': '/a%20b%7e', 'latin1': '/\xe4', 'utf8': '/\xc3\xa4',
            'percent': '/%', 'brackets': '/[x]', 'quote': '/"<>', 'query-blank': '/?a b&c=\xe4',
            'ftp': 'ftp://{A}/', 'file': 'file:///etc/passwd', 'script': 'javascript:x',
            'no-host': 'http:///last', 'slashes': '///last', 'one-slash': 'http:/last',
            'port': 'http://127.0.0.1:99999/', 'bracket': 'http://[::1', 'user': 'http://u:p@{A}/last',
            'user-other': 'http://u:p@{B}/last', 'backslash': '/a\\b', 'capital': 'HTTP://{A}/last',
            'empty-query': '/last?', 'colon': 'a:b', 'plus': '/?a+b', 'semicolon': '/a;b?c;d',
    }.items():
        case('location-' + name, [redirect(location), LAST], step(url='http://{A}/from/x?q=1'))
    case('location-empty', redirect(''))
    case('location-none', whole('x', status='302 Found'))
    case('location-twice', [redirect('/one', '302 x', 'Location: /two'), LAST])
    case('location-blanks', [redirect('  /last \t'), LAST])
    case('location-old-fragment', [redirect('/last'), LAST], step(url='http://{A}/from#old'))
    case('location-two-fragments', [redirect('/two#new'), redirect('/last'), LAST],
         step(url='http://{A}/from#old'))
    case('location-not-followed', redirect('/last'), step(redirects=False))
    case('location-200', whole('x', 'Location: /last'))
    case('location-201', whole('x', 'Location: /last', status='201 Created'))
    case('redirect-loop', redirect('/again'))
    case('redirect-max', [redirect('/1'), redirect('/2'), redirect('/3'), LAST], step(max=2))
    case('redirect-max-just', [redirect('/1'), redirect('/2'), LAST], step(max=3))
    case('redirect-history', [redirect('/1'), redirect('/2', '301 x'), LAST])
    secrets = {'Authorization': 'secret', 'Cookie': 'mine=1', 'X-Own': '1',
               'Proxy-Authorization': 'secret'}
    for name, location in {'same': '/last', 'other': 'http://{B}/last'}.items():
        case(f'redirect-secrets-{name}', [redirect(location), LAST], step(headers=secrets))
        case(f'redirect-auth-{name}', [redirect(location), LAST], step(auth=('u', 'p')))
        case(f'redirect-cookies-{name}', [redirect(location), LAST], step(cookies={'mine': '1'}))
        case(f'redirect-host-{name}', [redirect(location), LAST], step(headers={'Host': 'own'}))
        case(f'redirect-params-{name}', [redirect(location), LAST], step(params={'a': 'b'}))
    case('redirect-bad-body', [cut(head('Location: /last', 'Content-Length: 50', 'Connection: close',
                                        status='302 x') + b'short'), LAST])
    case('redirect-bad-encoding', [redirect('/last', '302 x', 'Content-Encoding: gzip'), LAST])


def cookies():
    def kept(name, *fields, url='http://{A}/a/b', then='http://{A}/a/c'):
        case('cookie-' + name, [whole('', *(f'Set-Cookie: {field}' for field in fields)), LAST],
             step(url=url), step(url=then))

    kept('plain', 'a=1')
    kept('two', 'a=1', 'b=2')
    kept('replaced', 'a=1; Path=/', 'a=2; Path=/')
    kept('path', 'a=1; Path=/a', 'b=2; Path=/b', 'c=3; Path=/')
    kept('path-slash', 'a=1; Path=/a/')
    kept('path-part', 'a=1; Path=/a/c', then='http://{A}/a/cd')
    kept('path-default', 'a=1', then='http://{A}/x')
    kept('path-below', 'a=1; Path=/a', then='http://{A}/ab')
    kept('path-order', 'a=1; Path=/', 'b=2; Path=/a', 'c=3; Path=/')
    kept('path-relative', 'a=1; Path=x', then='http://{A}/a/c')
    kept('path-same-name', 'a=1; Path=/', 'a=2; Path=/a')
    kept('other-host', 'a=1; Path=/', then='http://{L}/')
    kept('other-port', 'a=1; Path=/', then='http://{B}/')
    kept('domain-own', 'a=1; Path=/; Domain=127.0.0.1')
    kept('domain-other', 'a=1; Path=/; Domain=example.com')
    kept('domain-part', 'a=1; Path=/; Domain=0.0.1')
    kept('domain-localhost', 'a=1; Path=/; Domain=localhost', url='http://{L}/', then='http://{L}/')
    kept('domain-empty', 'a=1; Path=/; Domain=')
    kept('secure', 'a=1; Path=/; Secure')
    kept('httponly', 'a=1; Path=/; HttpOnly; SameSite=Lax')
    kept('expired', 'a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT')
    kept('max-age', 'a=1; Path=/; Max-Age=100')
    kept('max-age-0', 'a=1; Path=/; Max-Age=0')
    kept('max-age-negative', 'a=1; Path=/; Max-Age=-1')
    kept('max-age-text', 'a=1; Path=/; Max-Age=x')
    kept('removed', 'a=1; Path=/', 'a=; Path=/; Max-Age=0')
    kept('expires-later', 'a=1; Path=/; Expires=Wed, 01 Jan 2098 00:00:00 GMT')
    kept('expires-dashes', 'a=1; Path=/; Expires=Wed, 01-Jan-2098 00:00:00 GMT')
    kept('expires-asctime', 'a=1; Path=/; Expires=Wed Jan  1 00:00:00 2098')
    kept('expires-junk', 'a=1; Path=/; Expires=never')
    kept('max-age-first', 'a=1; Path=/; Max-Age=100; Expires=Thu, 01 Jan 1970 00:00:00 GMT')
    kept('quoted', 'a="1 2"; Path=/')
    kept('blanks', ' a = 1 2 ; Path=/')
    kept('empty', 'a=; Path=/')
    kept('equals', 'a=b=c==; Path=/')
    kept('no-name', '=x; Path=/')
    kept('no-value', 'junk; Path=/')
    kept('comma', 'a=1,2; Path=/')
    kept('json', 'a={"x":1}; Path=/')
    kept('latin1', 'a=\xe4; Path=/')
    kept('odd-name', 'a[b]=1; Path=/')
    kept('long', 'a=' + 'x' * 5000 + '; Path=/')
    kept('host-prefix', '__Host-a=1; Path=/')
    kept('secure-prefix', '__Secure-a=1; Path=/')
    kept('capital', 'a=1; PATH=/; HTTPONLY')
    kept('case', 'a=1; Path=/', 'A=2; Path=/')
    case('cookie-of-redirect', [redirect('/last', '302 x', 'Set-Cookie: a=1; Path=/'), LAST, LAST],
         step(), step(url='http://{A}/more'))
    case('cookie-of-404', [whole('', 'Set-Cookie: a=1; Path=/', status='404 x'), LAST],
         step(), step())
    case('cookie-of-204', [answer(head('Set-Cookie: a=1; Path=/', status='204 x')), LAST],
         step(), step())
    first = whole('', 'Set-Cookie: a=1; Path=/')
    case('cookie-beside', [first, LAST], step(), step(cookies={'b': '2'}))
    case('cookie-beside-same', [first, LAST], step(), step(cookies={'a': '2'}))
    case('cookie-beside-field', [first, LAST], step(), step(headers={'Cookie': 'b=2'}))
    case('cookie-not-kept', LAST, step(cookies={'b': '2'}), step())
    case('cookie-given-two', LAST, step(cookies={'b': '2', 'a': '1'}))
    case('cookie-given-blank', LAST, step(cookies={'b': 'x y'}))
    case('cookie-given-and-field', LAST, step(cookies={'b': '2'}, headers={'Cookie': 'c=3'}))


def sent():
    case('sent-get', LAST)
    case('sent-lower', LAST, step('get'))
    case('sent-own-method', LAST, step('PURGE'))
    for method in ('POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'):
        case(f'sent-{method}', LAST, step(method))
        case(f'sent-{method}-data', LAST, step(method, data='abc'))
    case('sent-GET-data', LAST, step('GET', data='abc'))
    case('sent-empty-data', LAST, step('POST', data=''))
    case('sent-form', LAST, step('POST', data={'a b': '\xe4&=', 'c': ''}))
    case('sent-form-type', LAST, step('POST', data={'a': 'b'}, headers={'Content-Type': 'own/type'}))
    case('sent-type', LAST, step('POST', data='abc', headers={'content-type': 'own/type'}))
    case('sent-length', LAST, step('POST', data='abc', headers={'Content-Length': '3'}))
    case('sent-length-wrong', LAST, step('POST', data='abc', headers={'Content-Length': '2'}))
    case('sent-fields', LAST, step(headers={'X-Own': 'a  b', 'Empty': '', 'accept': 'x/y'}))
    case('sent-host', LAST, step(headers={'Host': 'own.example'}))
    case('sent-latin1-field', LAST, step(headers={'X': '\xe4'}))
    for name, value in {'return': 'a\r\nb', 'feed': 'a\nb', 'nul': 'a\0b', 'blank': ' a'}.items():
        case(f'sent-bad-field-{name}', LAST, step(headers={'X': value}))
    for name in ('a b', 'a:b', '', 'a\nb'):
        case('sent-bad-name-' + name.encode('unicode_escape').decode().replace(' ', '_'), LAST,
             step(headers={name: '1'}))
    case('sent-bad-method', LAST, step('A B'))
    case('sent-auth', LAST, step(auth=('user', 'pass:word')))
    case('sent-auth-empty', LAST, step(auth=('', '')))
    case('sent-auth-latin1', LAST, step(auth=('\xe4', '\xf6')))
    case('sent-auth-colon', LAST, step(auth=('a:b', 'c')))
    case('sent-auth-field', LAST, step(auth=('u', 'p'), headers={'Authorization': 'own'}))
    case('sent-auth-url', LAST, step(url='http://u:p%40@{A}/'))
    case('sent-auth-url-user', LAST, step(url='http://u@{A}/'))
    case('sent-auth-both', LAST, step(url='http://u:p@{A}/', auth=('v', 'q')))
    case('sent-auth-url-field', LAST, step(url='http://u:p@{A}/', headers={'Authorization': 'own'}))
    case('sent-params', LAST, step(params={'a b': '\xe4&=', 'c': '', 'd': '~*/?'}))
    case('sent-params-query', LAST, step(url='http://{A}/?x=1', params={'a': 'b'}))
    case('sent-params-fragment', LAST, step(url='http://{A}/#f', params={'a': 'b'}))
    for name, url in {
            'no-path': 'http://{A}', 'query': 'http://{A}?a=b', 'fragment': 'http://{A}/x#f',
            'blank': 'http://{A}/a b', 'quoted': 'http://{A}/%7e%2f%20', 'percent': 'http://{A}/%',
            'dots': 'http://{A}/a/../b/./c', 'slashes': 'http://{A}//a//b', 'utf8': 'http://{A}/\xe4',
            'brackets': 'http://{A}/[x]?[y]', 'quote': 'http://{A}/"<>`{|}', 'plus': 'http://{A}/?a+b',
            'amp': 'http://{A}/?a=%26&b=%3D', 'empty-query': 'http://{A}/?', 'star': "http://{A}/*'()!",
            'semicolon': 'http://{A}/a;b', 'capital': 'HTTP://{A}/', 'backslash': 'http://{A}/a\\b',
            'leading': ' http://{A}/', 'tab': 'http://{A}/a\tb', 'none': '', 'word': 'word',
            'relative': '/x', 'ftp': 'ftp://{A}/', 'host-less': 'http://', 'host-less-path': 'http:///x',
            'port': 'http://127.0.0.1:99999/', 'port-letters': 'http://127.0.0.1:x/',
            'bracket': 'http://[::1/', 'dot-host': 'http://.x/', 'star-host': 'http://*.x/',
            'blank-host': 'http://a b/', 'two-dots': 'http://a..b/',
    }.items():
        case('url-' + name, LAST, step(url=url))


def uploads():
    text = ('a', 'a.txt', 'content', 'text/plain')
    odd = ('b "c"', 'd \\ "e"\u00e4.bin', '\r\n--', 'application/x-odd')
    case('upload-file', LAST, step('POST', files=[text]))
    case('upload-files', LAST, step('POST', files=[text, odd, text]))
    case('upload-file-form', LAST, step('POST', files=[text], data={'x': 'y', 'z': ''}))
    case('upload-file-empty', LAST, step('POST', files=[('a', 'b', '', 'text/plain')]))
    for status in ('307 Temporary Redirect', '303 See Other'):
        case('upload-file-' + status[:3], [redirect('/2', status), LAST],
             step('POST', files=[text]))
    case('upload-pieces', LAST, step('POST', pieces=['one', 'two', 'x' * 3000]))
    case('upload-pieces-put', LAST, step('PUT', pieces=['one'], headers={'Content-Type': 'a/b'}))
    case('upload-pieces-303', [redirect('/2', '303 See Other'), LAST],
         step('POST', pieces=['one']))
    case('upload-pieces-307', [redirect('/2', '307 Temporary Redirect'), LAST],
         step('POST', pieces=['one', 'two']))


def through(*urls, **arguments):
    """Requests to hosts that are none, through a proxy that answers for them."""
    return [step(url=url, proxy='http://{A}', **arguments) for url in urls]


def proxies():
    case('proxy-plain', LAST, *through('http://host.example/x?y#z'))
    case('proxy-port', LAST, *through('http://host.example:8080/'))
    case('proxy-post', LAST, step('POST', 'http://host.example/', data='abc', proxy='http://{A}'))
    case('proxy-user', LAST, step(url='http://host.example/', proxy='http://u:p%40@{A}'))
    case('proxy-407', whole('no', status='407 Proxy Authentication Required'),
         *through('http://host.example/'))
    case('proxy-redirect', [redirect('http://other.example/y'), LAST],
         *through('http://host.example/x'))
    case('proxy-redirect-relative', [redirect('/y'), LAST], *through('http://host.example/x'))
    case('proxy-auth', LAST, *through('http://host.example/', auth=('u', 'p')))
    case('proxy-dead', LAST, step(url='http://host.example/', proxy='http://127.0.0.1:1'))
    case('proxy-none', LAST, step(url='http://host.example/', proxy='http://'))
    case('proxy-bad-answer', cut(b'junk\r\n\r\n'), *through('http://host.example/'))
    case('proxy-silent', cut(b''), *through('http://host.example/'))
    for name, variables in {
            'small': {'http_proxy': 'http://{A}'}, 'capital': {'HTTP_PROXY': 'http://{A}'},
            'both': {'http_proxy': 'http://{A}', 'HTTP_PROXY': 'http://127.0.0.1:1'},
            'user': {'HTTP_PROXY': 'http://u:p@{A}'}, 'no-scheme': {'HTTP_PROXY': '{A}'},
            'no': {'HTTP_PROXY': 'http://{A}', 'NO_PROXY': 'other.example,.host'},
            'other': {'HTTP_PROXY': 'http://{A}', 'HTTPS_PROXY': 'http://127.0.0.1:1'},
    }.items():
        case('proxy-environment-' + name, LAST,
             step(url='http://host.example/', environment=variables))
    case('proxy-environment-redirect', [redirect('http://other.example/y'), LAST],
         step(url='http://host.example/x', environment={'HTTP_PROXY': 'http://{A}'}))
    case('proxy-environment-given', LAST,
         step(url='http://host.example/', proxy='http://{A}',
              environment={'HTTP_PROXY': 'http://127.0.0.1:1'}))
    case('proxy-environment-excepted', LAST,
         step(environment={'HTTP_PROXY': 'http://127.0.0.1:1', 'NO_PROXY': '127.0.0.1'}))
    for name, host in {
            'umlaut': 'b\xfccher.example', 'capital': 'HOST.Example', 'sharp-s': 'stra\xdfe.example',
            'kanji': '\u65e5\u672c.example', 'wide': '\uff48ost.example', 'wide-dot': 'a\u3002example',
            'punycode': 'xn--bcher-kva.example', 'underscore': 'a_b.example', 'hyphen': '-a-.example',
            'dot-end': 'host.example.', 'label-63': 'x' * 63 + '.example',
            'label-64': 'x' * 64 + '.example', 'escaped': 'h%6fst.example',
            'escaped-utf8': 'b%C3%BCcher.example', 'soft-hyphen': 'ho\xadst.example',
            'emoji': '\U0001f600.example', 'sigma': '\u03b1\u03c2.example', 'address': '127.1',
            'address-hex': '0x7f.0.0.1', 'address-6': '[::1]', 'address-6-long': '[0:0::0:1]',
            'address-6-capital': '[FE80::A]', 'address-6-four': '[::ffff:1.2.3.4]',
            'bracket': '[::1', 'one-label': 'host',
    }.items():
        case('host-' + name, LAST, *through(f'http://{host}/'))


def domains():
    def kept(name, field, *urls):
        answers = [whole('', f'Set-Cookie: a=1; Path=/{field}'), LAST]
        case('domain-' + name, answers, *through('http://www.host.example/', *urls))

    kept('own', '', 'http://www.host.example/', 'http://host.example/', 'http://a.www.host.example/')
    for name, domain in {'parent': 'host.example', 'dot': '.host.example', 'itself': 'www.host.example',
                         'below': 'a.www.host.example', 'suffix': 'example', 'part': 'st.example',
                         'other': 'other.example', 'capital': 'HOST.Example',
                         'dot-end': 'host.example.', 'two-dots': '..host.example'}.items():
        kept(name, f'; Domain={domain}', 'http://www.host.example/', 'http://host.example/',
             'http://a.b.host.example/', 'http://badhost.example/', 'http://www.host.example:81/')
    case('domain-public-suffix', [whole('', 'Set-Cookie: a=1; Path=/; Domain=co.uk'), LAST],
         *through('http://host.co.uk/', 'http://other.co.uk/'))
    case('domain-private-suffix', [whole('', 'Set-Cookie: a=1; Path=/; Domain=github.io'), LAST],
         *through('http://me.github.io/', 'http://you.github.io/'))
    case('domain-umlaut', [whole('', 'Set-Cookie: a=1; Path=/; Domain=xn--bcher-kva.example'), LAST],
         *through('http://www.b\xfccher.example/', 'http://b\xfccher.example/'))
    case('domain-upper-host', [whole('', 'Set-Cookie: a=1; Path=/'), LAST],
         *through('http://HOST.example/', 'http://host.EXAMPLE/'))
    case('domain-redirect', [redirect('http://b.host.example/', '302 x',
                                      'Set-Cookie: a=1; Domain=host.example',
                                      'Set-Cookie: b=2'), LAST],
         *through('http://a.host.example/'))
    secrets = {'Authorization': 'secret', 'Cookie': 'mine=1'}
    for name, location in {'below': 'http://a.host.example/', 'port': 'http://host.example:81/',
                           'port-80': 'http://host.example:80/', 'capital': 'http://HOST.example/',
                           'dot-end': 'http://host.example./'}.items():
        case('domain-secrets-' + name, [redirect(location), LAST],
             *through('http://host.example/', headers=secrets))


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


for group in (bodies, broken_bodies, heads, broken_heads, statuses, lengths, encodings, redirects,
              cookies, sent, uploads, proxies, domains, texts):
    group()
