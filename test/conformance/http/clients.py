"""Runs cases with Python's clients. A report is a dictionary of texts, one for each request."""

import asyncio
import contextlib
import os

import aiohttp
import requests

TIMEOUT = 5


def values(step):
    """The arguments of a request that both clients have."""
    arguments = {name: step[name] for name in ('headers', 'params', 'cookies', 'data')
                 if name in step}
    if isinstance(arguments.get('data'), str):
        arguments['data'] = arguments['data'].encode()
    if 'redirects' in step:
        arguments['allow_redirects'] = step['redirects']
    return arguments


@contextlib.contextmanager
def environment(step):
    """Sets the environment variables of a step, and unsets them afterwards."""
    os.environ.update(step.get('environment', {}))
    try:
        yield
    finally:
        for name in step.get('environment', {}):
            del os.environ[name]


def uses_environment(steps):
    return any('environment' in step for step in steps)


def error_report(error):
    name = type(error).__name__
    return {'error': f'{name}: {error}' if name == 'TooManyRedirects' else name}


def with_requests(steps):
    reports = []
    with requests.Session() as session:
        session.trust_env = uses_environment(steps)
        for step in steps:
            report = {}
            session.max_redirects = step.get('max', 30)
            arguments = values(step)
            if 'auth' in step:
                arguments['auth'] = step['auth']
            if 'proxy' in step:
                arguments['proxies'] = {'http': step['proxy']}
            if 'files' in step:
                arguments['files'] = [(field, (name, content.encode(), type))
                                      for field, name, content, type in step['files']]
            if 'pieces' in step:
                arguments['data'] = (piece.encode() for piece in step['pieces'])
            try:
                with environment(step):
                    response = session.request(step['method'], step['url'], timeout=TIMEOUT,
                                               **arguments)
                report = {
                    'status': str(response.status_code),
                    'reason': response.reason,
                    'url': response.url,
                    'headers': [(name.lower(), value) for name, value in response.headers.items()],
                    'body': response.content.decode('latin1'),
                    'text': response.text,
                    'history': [f'{r.status_code} {r.url}' for r in response.history],
                }
            except Exception as error:
                report = error_report(error)
            report['cookies'] = sorted(f'{c.name}={c.value}' for c in session.cookies)
            reports.append(report)
    return reports


async def pieces_of(step):
    for piece in step['pieces']:
        yield piece.encode()


def form_of(step):
    form = aiohttp.FormData(step.get('data', {}))
    for field, name, content, type in step['files']:
        form.add_field(field, content.encode(), filename=name, content_type=type)
    return form


async def with_aiohttp_session(steps):
    reports = []
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar,
                                     trust_env=uses_environment(steps)) as session:
        for step in steps:
            arguments = values(step)
            if 'max' in step:
                arguments['max_redirects'] = step['max']
            if 'proxy' in step:
                arguments['proxy'] = step['proxy']
            if 'files' in step:
                arguments['data'] = form_of(step)
            if 'pieces' in step:
                arguments['data'] = pieces_of(step)
            try:
                if 'auth' in step:
                    arguments['auth'] = aiohttp.BasicAuth(*step['auth'])
                with environment(step):
                    async with session.request(step['method'], step['url'],
                                               timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                                               **arguments) as response:
                        body = await response.read()
                        report = {
                            'status': str(response.status),
                            'reason': response.reason,
                            'url': str(response.url),
                            'headers': [(name.lower(), value)
                                        for name, value in response.headers.items()],
                            'body': body.decode('latin1'),
                            'text': await response.text(errors='replace'),
                            'history': [f'{r.status} {r.url}' for r in response.history],
                        }
            except Exception as error:
                report = error_report(error)
            report['cookies'] = sorted(f'{m.key}={m.value}' for m in jar)
            reports.append(report)
    return reports


def with_aiohttp(steps):
    return asyncio.run(with_aiohttp_session(steps))


CLIENTS = {'requests': with_requests, 'aiohttp': with_aiohttp}
