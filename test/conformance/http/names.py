#!/usr/bin/env python3
"""Compares the names of requests and aiohttp, those of Python, with the headers here.

Each public name of the modules, member of their classes and keyword argument must be in the header of
its module, or in backticks in a section "Names ... not here" of the README beside that header:
`name`, `Class.name` or `Class.name=`, with * for any letters. A listed name that the headers have, or
that Python does not have, fails, too. Skipped (77) without Debian's packages.
"""

import fnmatch
import importlib
import inspect
import pathlib
import re
import sys

sys.dont_write_bytecode = True
import run  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3] / 'fiber'
KEYWORDS = {'delete': 'delete_', 'static': 'static_', 'register': 'register_'}


def public_headers():
    """The headers that are installed, by their paths in fiber/."""
    text = ''.join(path.read_text() for path in sorted((ROOT / 'lists').glob('**/meson.build')))
    lists = re.findall(r'^(\w+)_headers = \[\n(.*?)^\]', text, re.M | re.S)
    return [header for name, headers in lists if not name.endswith('private')
            for header in re.findall(r"'(.*?)'", headers)]


def code_of(*patterns):
    """The code of headers, without comments and string literals."""
    text = ''
    for header in public_headers():
        if any(fnmatch.fnmatchcase(header, pattern) for pattern in patterns):
            text += (ROOT / header).read_text() + '\n'
    return re.sub(r'//[^\n]*|"(?:\\.|[^"\\])*"', '', text)


def body_of(code, name):
    """The text between the braces of a class, and of its bases; None if no header has the class."""
    # The lookbehinds pass over parameters of templates.
    found = re.search(rf'(?<!, )(?<!<)\b(?:class|struct)\s+(?:FIBER_API\s+)?{name}\b([^;{{]*)\{{', code)
    if not found:
        return None
    depth, at = 1, found.end()
    while depth:
        depth += {'{': 1, '}': -1}.get(code[at], 0)
        at += 1
    body = code[found.end():at]
    for base in re.findall(r'(?:public|private|protected|virtual)\s+(?:\w+::)*(\w+)', found[1]):
        body += body_of(code, base) or ''
    return body


def identifiers(text):
    return set(re.findall(r'\b[A-Za-z_]\w*', text or ''))


def public(names):
    return {name for name in names if not name.startswith('_')}


def members(thing):
    """The names of a class and its bases, without those that every class, error or dict has."""
    common = set(dir(object)) | set(dir(Exception)) | set(dir(dict))
    names = public(dir(thing)) - common
    names |= public(getattr(thing, '__attrs__', ()))
    return names - {'ATTRS'}


def arguments(function, *left_out):
    return public(inspect.signature(function).parameters) - {'self', 'loop', 'args', 'kwargs', *left_out}


class Comparison:
    def __init__(self, readme):
        text = (ROOT / readme).read_text()
        sections = re.findall(r'^## Names[^\n]*not here\n(.*?)(?=^## |\Z)', text, re.M | re.S)
        # The first column of each table has the names.
        self.listed = {name: False for section in sections for line in section.splitlines()
                       if line.startswith('| ')
                       for name in re.findall(r'`([^`]+)`', line.split('|')[1])}
        self.readme = readme
        self.missing = []

    def compare(self, names, here, prefix='', suffix=''):
        for name in sorted(names):
            if KEYWORDS.get(name, name) in here:
                continue
            forms = {name + suffix, f'{prefix}.{name}{suffix}' if prefix else name + suffix}
            listed = [entry for entry in self.listed
                      if any(fnmatch.fnmatchcase(form, entry) for form in forms)]
            for entry in listed:
                self.listed[entry] = True
            if not listed:
                self.missing.append(f'{prefix}.{name}{suffix}' if prefix else name + suffix)

    def compare_class(self, thing, code, name=None, extra=()):
        body = body_of(code, name or thing.__name__)
        if body is not None:
            self.compare(members(thing) | set(extra), identifiers(body), thing.__name__)

    def compare_arguments(self, function, code, structs, name, left_out=()):
        here = set().union(*(identifiers(body_of(code, struct)) for struct in structs))
        self.compare(arguments(function, *left_out), here, name, '=')

    def report(self):
        for name in self.missing:
            print(f'{self.readme}: {name} is neither here nor listed')
        unused = [name for name, used in self.listed.items() if not used]
        for name in unused:
            print(f'{self.readme}: {name} is listed, and is here, or is no name of Python\'s')
        return bool(self.missing or unused)


def compare_requests():
    requests = importlib.import_module('requests')
    code = code_of('requests.hpp', 'requests/*.hpp', 'http/*.hpp', 'exceptions.hpp')
    comparison = Comparison('requests/README.md')
    here = identifiers(code)
    modules = {name for name in dir(requests) if inspect.ismodule(getattr(requests, name))}
    comparison.compare(public(dir(requests)) - modules, here)
    comparison.compare({name for name, thing in vars(requests.exceptions).items()
                        if inspect.isclass(thing)}, here)
    comparison.compare({name for name, thing in vars(requests.auth).items()
                        if inspect.isclass(thing) and thing.__module__ == 'requests.auth'}, here)
    session, response = requests.Session(), requests.Response()
    prepared = requests.PreparedRequest()
    comparison.compare_class(requests.Session, code, extra=public(vars(session)))
    comparison.compare_class(requests.Response, code, extra=public(vars(response)))
    comparison.compare_class(requests.PreparedRequest, code, extra=public(vars(prepared)))
    comparison.compare_class(requests.adapters.HTTPAdapter, code)
    comparison.compare_arguments(requests.Session.request, code, ['Options'], 'Session.request',
                                 ('method', 'url'))
    comparison.compare_arguments(requests.adapters.HTTPAdapter, code, ['HTTPAdapter'], 'HTTPAdapter')
    comparison.compare_arguments(requests.adapters.Retry, code, ['Retry'], 'Retry')
    return comparison.report()


def compare_aiohttp_client(aiohttp):
    code = code_of('aiohttp.hpp', 'aiohttp/*.hpp', 'http/*.hpp')
    comparison = Comparison('aiohttp/README.md')
    comparison.compare(aiohttp.__all__, identifiers(code))
    for thing in (aiohttp.ClientSession, aiohttp.ClientResponse, aiohttp.StreamReader,
                  aiohttp.CookieJar, aiohttp.ClientWebSocketResponse, aiohttp.FormData,
                  aiohttp.MultipartReader, aiohttp.BodyPartReader, aiohttp.TraceConfig,
                  aiohttp.ClientTimeout, aiohttp.ClientResponseError, aiohttp.WSMessage):
        comparison.compare_class(thing, code)
    session, ws = ['SessionOptions'], ['WsConnectOptions', 'WebsocketOptions']
    compare = comparison.compare_arguments
    compare(aiohttp.ClientSession, code, session, 'ClientSession')
    compare(aiohttp.ClientSession._request, code, ['RequestOptions'], 'ClientSession.request',
            ('method', 'str_or_url'))
    compare(aiohttp.ClientSession._ws_connect, code, ws, 'ClientSession.ws_connect', ('url',))
    for connector in (aiohttp.TCPConnector, aiohttp.UnixConnector):
        compare(connector, code, [connector.__name__], connector.__name__)
    compare(aiohttp.CookieJar, code, ['CookieJar'], 'CookieJar')
    compare(aiohttp.FormData.add_field, code, ['FieldOptions'], 'FormData.add_field',
            ('name', 'value'))
    return comparison.report()


def compare_aiohttp_web(aiohttp):
    web, test_utils = (importlib.import_module('aiohttp.' + name) for name in ('web', 'test_utils'))
    code = code_of('aiohttp/web*.hpp', 'aiohttp/multipart.hpp', 'aiohttp/test_utils.hpp',
                   'aiohttp/client_ws.hpp', 'http/*.hpp')
    comparison = Comparison('aiohttp/WEB.md')
    here = identifiers(code)
    comparison.compare(web.__all__, here)
    comparison.compare({name for name, thing in vars(test_utils).items()
                        if getattr(thing, '__module__', '') == 'aiohttp.test_utils'
                        and not name.startswith('_')}, here)
    for thing in (web.Application, web.Request, web.StreamResponse, web.Response,
                  web.WebSocketResponse, web.UrlDispatcher, web.AppRunner, web.ServerRunner,
                  web.TCPSite, web.UnixSite, web.SockSite, web.Server, web.FileField,
                  test_utils.TestClient, test_utils.TestServer):
        comparison.compare_class(thing, code)
    compare = comparison.compare_arguments
    compare(web.run_app, code, ['RunAppOptions', 'RunnerOptions', 'ServerOptions', 'SiteOptions'], 'run_app', ('app',))
    compare(web.Response, code, ['ResponseOptions'], 'Response')
    compare(web.StreamResponse, code, ['StreamResponseOptions'], 'StreamResponse')
    compare(web.FileResponse, code, ['FileResponseOptions'], 'FileResponse', ('path',))
    compare(web.json_response, code, ['JSONResponseOptions'], 'json_response', ('data', 'body', 'text'))
    compare(web.StreamResponse.set_cookie, code, ['CookieOptions'], 'StreamResponse.set_cookie',
            ('name', 'value'))
    compare(web.WebSocketResponse, code, ['WebsocketOptions'], 'WebSocketResponse')
    compare(web.UrlDispatcher.add_static, code, ['StaticOptions'], 'UrlDispatcher.add_static',
            ('prefix', 'path'))
    return comparison.report()


def main():
    run.oracle()
    aiohttp = importlib.import_module('aiohttp')
    failures = [compare_requests(), compare_aiohttp_client(aiohttp), compare_aiohttp_web(aiohttp)]
    sys.exit(any(failures))


if __name__ == '__main__':
    main()
