"""Cases about requests: what is sent, and what one answer changes in the requests that follow."""

from case import LAST, answer, case, cut, head, redirect, step, whole


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
    """Requests to hosts that do not exist, through a proxy that answers for them."""
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
