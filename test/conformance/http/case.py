"""The words that describe a case: its requests, and the bytes that answer them.

A case is a name, steps (requests of one session) and answers, one for each request that arrives; the
last one is for all that follow. {A}, {B} and {L} are the addresses of two origins, {L} being {A} by
another name. Names are unique; README tables name them.
"""

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
