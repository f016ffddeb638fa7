"""What Python's clients report of a case: a dictionary of texts for each of its requests."""

import asyncio

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


def with_requests(steps):
    reports = []
    with requests.Session() as session:
        session.trust_env = False
        for step in steps:
            report = {}
            session.max_redirects = step.get('max', 30)
            arguments = values(step)
            if 'auth' in step:
                arguments['auth'] = step['auth']
            if 'proxy' in step:
                arguments['proxies'] = {'http': step['proxy']}
            try:
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
                report = {'error': type(error).__name__}
            report['cookies'] = sorted(f'{c.name}={c.value}' for c in session.cookies)
            reports.append(report)
    return reports


async def with_aiohttp_session(steps):
    reports = []
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        for step in steps:
            arguments = values(step)
            if 'max' in step:
                arguments['max_redirects'] = step['max']
            if 'proxy' in step:
                arguments['proxy'] = step['proxy']
            try:
                if 'auth' in step:
                    arguments['auth'] = aiohttp.BasicAuth(*step['auth'])
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
                report = {'error': type(error).__name__}
            report['cookies'] = sorted(f'{m.key}={m.value}' for m in jar)
            reports.append(report)
    return reports


def with_aiohttp(steps):
    return asyncio.run(with_aiohttp_session(steps))


CLIENTS = {'requests': with_requests, 'aiohttp': with_aiohttp}
