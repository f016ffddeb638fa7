#!/usr/bin/env python3
"""Compares the requests and aiohttp of Python with those of this library, on canned answers.

  run.py CLIENT                   runs all cases; CLIENT is the program of client.cpp
  run.py CLIENT PATTERN ...       runs the cases of these names, and prints known differences, too

A difference that is not in a table of fiber/requests/README.md or fiber/aiohttp/README.md fails, and
so does a row without a difference. Skipped (77) without Debian's packages, whose versions the tables are for.
"""

import fnmatch
import os
import pathlib
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
VERSIONS = {'requests': '2.28', 'aiohttp': '3.8'}
LEFT_OUT = {'accept', 'accept-encoding', 'connection', 'user-agent'}
FIELDS = ('error', 'status', 'reason', 'url', 'headers', 'body', 'text', 'history', 'cookies',
          'sent')


def oracle():
    """Starts this script again with an interpreter that has the packages; without one, exits (77)."""
    try:
        import aiohttp
        import requests
    except ImportError:
        system = '/usr/bin/python3'
        if sys.executable != system and os.path.exists(system):
            os.execv(system, [system, *sys.argv])
        print('SKIP: Python has no requests and aiohttp (Debian: python3-requests, python3-aiohttp)')
        sys.exit(77)
    for module in (requests, aiohttp):
        if not module.__version__.startswith(VERSIONS[module.__name__] + '.'):
            print(f'SKIP: {module.__name__} {module.__version__} is another version than the '
                  f'{VERSIONS[module.__name__]} that the tables are for')
            sys.exit(77)


class Ours:
    """The library's clients, in a process that ends with its input."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def say(self, command, *values):
        self.process.stdin.write(' '.join(
            [command, *('=' + value.encode('utf8', 'surrogateescape').hex() for value in values)]
        ).encode() + b'\n')

    def run(self, client, steps):
        for step in steps:
            self.say('request', step['method'], step['url'])
            for name, key in (('header', 'headers'), ('cookie', 'cookies'), ('param', 'params')):
                for pair in step.get(key, {}).items():
                    # Bytes are sent unchanged; requests' texts are Latin-1, aiohttp's UTF-8.
                    as_latin = name == 'header' and client == 'requests'
                    self.say(name, *(latin(text) if as_latin else text for text in pair))
            data = step.get('data')
            if isinstance(data, dict):
                for pair in data.items():
                    self.say('form', *pair)
            elif data is not None:
                self.say('data', data)
            for file in step.get('files', []):
                self.say('file', *file)
            for piece in step.get('pieces', []):
                self.say('piece', piece)
            for pair in step.get('environment', {}).items():
                self.say('environment', *pair)
            if 'auth' in step:
                # Both clients of Python encode credentials in Latin-1.
                self.say('auth', *(latin(text) for text in step['auth']))
            if 'redirects' in step:
                self.say('redirects', str(int(step['redirects'])))
            if 'max' in step:
                self.say('max', str(step['max']))
            if 'proxy' in step:
                self.say('proxy', step['proxy'])
        self.process.stdin.write(f'run {client}\n'.encode())
        self.process.stdin.flush()
        return [self.report(client) for _ in steps]

    def report(self, client):
        report = {'headers': [], 'history': [], 'cookies': []}
        for line in self.process.stdout:
            name, *values = line.decode().split()
            # Bytes that are no UTF-8 become Latin-1 in requests, and surrogates in aiohttp.
            values = [text_of(bytes.fromhex(value[1:]), name, client) for value in values]
            if name == 'end':
                report['cookies'].sort()
                if 'error' in report:
                    return {'error': report['error'], 'cookies': report['cookies']}
                return report
            if name == 'header':
                report['headers'].append((values[0].lower(), values[1]))
            elif name == 'history':
                report['history'].append(' '.join(values))
            elif name == 'cookie':
                report['cookies'].append('='.join(values))
            else:
                report[name] = values[0]
        raise EOFError(f'the client ended: {self.process.wait()}')


def latin(text):
    """Text whose bytes, in UTF-8, are those of Latin-1."""
    return text.encode('latin1', 'surrogateescape').decode('utf8', 'surrogateescape')


def text_of(data, name, client):
    if name == 'text':
        return data.decode()
    if client == 'aiohttp' and name != 'body':
        return data.decode('utf8', 'surrogateescape')
    return data.decode('latin1')


def without_boundary(fields, body):
    """Replaces the boundary of a form by B: each request has a new one."""
    kind = re.search('^multipart/.*boundary=(.*)', dict(fields).get('content-type', ''))
    if not kind:
        return fields, body
    boundary = kind[1]
    fewer = body.count(boundary) * (len(boundary) - 1)
    return [(name, str(int(value) - fewer) if name == 'content-length'
             else value.replace(boundary, 'B')) for name, value in fields], \
        body.replace(boundary, 'B')


def requests_sent(server):
    found = []
    for line, fields, body in server.end():
        fields, body = without_boundary(fields, body)
        kept = sorted(f'{name}: {value}' for name, value in fields if name not in LEFT_OUT)
        found.append('\n'.join([line, *kept, body]))
    return [server.unfill(text) for text in found]


def outcome(server, run, steps, answers):
    """The reports of a client, as one dictionary of lists: a list for each field of FIELDS."""
    server.begin(answers)
    def fill(text):
        return server.fill(text.encode()).decode()

    filled = [{name: fill(value) if name in ('url', 'proxy') else value
               for name, value in step.items()} for step in steps]
    for step in filled:
        if 'environment' in step:
            step['environment'] = {name: fill(value) for name, value in step['environment'].items()}
    reports = run(filled)
    result = {field: [report.get(field) for report in reports] for field in FIELDS}
    result['error'] = [error and server.unfill(error) for error in result['error']]
    for report in reports:
        for name, value in report.get('headers', []):
            assert isinstance(value, str), name
    result['url'] = [url and server.unfill(url) for url in result['url']]
    result['headers'] = [fields and sorted(
        (name, server.unfill(value)) for name, value in fields) for fields in result['headers']]
    result['history'] = [hops and [server.unfill(hop) for hop in hops] for hops in result['history']]
    result['sent'] = requests_sent(server)
    return result


def known_differences(client):
    """{case: reason} of the table `Known differences` of the README of a client."""
    page = pathlib.Path(__file__).resolve().parents[3] / 'fiber' / client / 'README.md'
    known = {}
    for line in page.read_text().partition('## Known differences')[2].split('\n'):
        row = re.fullmatch(r'\| (.*) \| ((?:`[^`|]*` ?)+) \|', line)
        if row:
            for pattern in re.findall('`([^`]*)`', row[2]):
                known[pattern] = row[1]
    return known


def show(name, client, theirs, ours):
    print(f'{client} {name}:')
    fields = [field for field in FIELDS if theirs[field] != ours[field]]
    if 'error' in fields:  # one side has no answer to compare
        fields = [field for field in fields if field in ('error', 'status', 'cookies', 'sent')]
    for field in fields:
        print(f'    {field}: Python {theirs[field]!r:.600}\n    {" " * len(field)}  here   '
              f'{ours[field]!r:.600}')


def main():
    oracle()
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    from cases import CASES
    from clients import CLIENTS
    from server import Server
    for name in list(os.environ):
        if name.lower().endswith('_proxy'):
            del os.environ[name]
    program, *patterns = sys.argv[1:]
    chosen = [name for name in CASES
              if not patterns or any(fnmatch.fnmatchcase(name, each) for each in patterns)]
    server, ours = Server(), Ours(program)
    failures = compared = 0
    for client, theirs in CLIENTS.items():
        known = known_differences(client)
        unused = set(known)
        for name in chosen:
            steps, answers = CASES[name]
            compared += 1
            begin = time.monotonic()
            want = outcome(server, theirs, steps, answers)
            got = outcome(server, lambda filled: ours.run(client, filled), steps, answers)
            if patterns and time.monotonic() - begin > 1:
                print(f'{client} {name}: {time.monotonic() - begin:.1f} s')
            if want != got:
                unused.discard(name)
                failures += name not in known
                if name not in known or patterns:
                    show(name, client, want, got)
        if not patterns:
            for name in sorted(unused):
                failures += 1
                print(f'{client}: `{name}` is in the table, and makes no difference')
    print(f'{len(chosen)} cases, {compared} comparisons, {failures} failures')
    return failures != 0


if __name__ == '__main__':
    sys.exit(main())
