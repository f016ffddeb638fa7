"""The HTTP rows: servers on one processor, clients on another, in rounds that take turns.

    http_servers.py DIRECTORY [GROUP...]      the directory of the programs http_*

Groups: server client connections files tls idle latency; all of them unless some are named. Prints
lines "work<TAB>who<TAB>median<TAB>low<TAB>high": nanoseconds per request, bytes in the rows
"memory: ...".
"""
import re
import socket
import statistics
import sys
import tempfile

from http_peers import Peers, allow_descriptors

SERVER_CONNECTIONS, SERVER_REQUESTS = 100, 50_000
CLIENT_CONNECTIONS, CLIENT_REQUESTS = 50, 20_000
ROUNDS = 7
IDLE = 10_000


def report(work, who, taken):
    if taken:
        print(work, who, f'{statistics.median(taken):.1f}', f'{min(taken):.1f}',
              f'{max(taken):.1f}', sep='\t', flush=True)


def race(work, runs, rounds=ROUNDS):
    """Reports a row from `runs`, a function for each competitor, which returns its figures or none;
    returns the medians."""
    taken = {who: [] for who in runs}
    for _ in range(rounds):
        for who, run in runs.items():
            taken[who] += run()
    for who, figures in taken.items():
        report(work, who, figures)
    return {who: statistics.median(figures) for who, figures in taken.items() if figures}


def serve(peers, work, servers, path='', connections=SERVER_CONNECTIONS, requests=SERVER_REQUESTS,
          rounds=ROUNDS):
    """A row of servers under a closed load: each connection sends its next request at once."""
    return race(work, {who: lambda url=url: peers.ask(peers.load, url + path, connections, requests)
                       for who, (url, _) in servers.items()}, rounds)


def request(peers, work, url):
    """A row of clients."""
    race(work, {who: lambda client=client: peers.ask(client, url, CLIENT_CONNECTIONS,
                                                     CLIENT_REQUESTS)
                for who, client in peers.clients.items()})


def server(peers):
    with peers.serving() as servers:
        serve(peers, f'HTTP server, {SERVER_CONNECTIONS} connections, per request', servers)


def client(peers):
    with peers.serving('epoll by hand') as servers:
        request(peers, f'HTTP client, {CLIENT_CONNECTIONS} connections, per request',
                servers['epoll by hand'][0])


def connections(peers):
    with peers.serving() as servers:
        for count in 1, 10, 1000, 5000:
            serve(peers, f'HTTP server, {count} connections, per request', servers,
                  connections=count, requests=20_000, rounds=3)


def files(peers):
    with peers.serving('fiber', 'nginx', 'Go', 'asyncio', 'uvloop') as servers:
        for name, size, requests in ('4 KiB', 4096, 20_000), ('1 MiB', 1024 * 1024, 2000):
            (peers.files / str(size)).write_bytes(b'x' * size)
            serve(peers, f'HTTP file of {name}, {SERVER_CONNECTIONS} connections, per request',
                  servers, f'files/{size}', requests=requests)


def tls(peers):
    with peers.serving('epoll by hand', 'fiber', 'nginx', 'Go', 'asyncio', 'uvloop',
                       tls=True) as servers:
        serve(peers, f'HTTPS server, {SERVER_CONNECTIONS} connections, per request', servers,
              requests=20_000)
        request(peers, f'HTTPS client, {CLIENT_CONNECTIONS} connections, per request',
                servers['epoll by hand'][0])


def resident(process):
    with open(f'/proc/{process.pid}/smaps_rollup') as file:
        return int(re.search(r'^Rss: *(\d+) kB', file.read(), re.MULTILINE)[1]) * 1024


def kept_idle(url, count):
    """Connections that have had an answer, and wait."""
    port = int(url.rstrip('/').rsplit(':', 1)[1])
    kept = []
    for _ in range(count):
        kept.append(socket.create_connection(('127.0.0.1', port)))
        kept[-1].sendall(b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
        answer = b''
        while not answer.endswith(b'hello'):
            answer += kept[-1].recv(4096)
    return kept


def idle(peers):
    count = min(IDLE, allow_descriptors() - 100)
    for who in peers.servers:
        if who == 'epoll by hand':
            continue
        with peers.serving(who) as servers:
            url, process = servers[who]
            kept_idle(url, 1)
            before = resident(process)
            kept = kept_idle(url, count - 1)
            report(f'memory: one of {count} idle HTTP connections', who,
                   [(resident(process) - before) / len(kept)])
            for connection in kept:
                connection.close()


def latency(peers):
    load = [peers.programs / 'http_load']
    with peers.serving() as servers:
        for who, (url, _) in servers.items():
            peak = [figure for _ in range(3) for figure in
                    peers.ask(peers.load, url, SERVER_CONNECTIONS, SERVER_REQUESTS)]
            rate = 1e9 / statistics.median(peak) / 2
            taken = [peers.ask(load, url, SERVER_CONNECTIONS, f'{rate:.0f}', 3) for _ in range(3)]
            for name, figures in zip(('median', '99th percentile'), zip(*filter(None, taken))):
                report(f'HTTP server, latency at half of the peak, {name}', who, figures)


GROUPS = {group.__name__: group
          for group in (server, client, connections, files, tls, idle, latency)}


def main():
    chosen = sys.argv[2:] or list(GROUPS)
    if unknown := set(chosen) - set(GROUPS):
        sys.exit(f'there is no group {", ".join(sorted(unknown))}\n\n{__doc__}')
    with tempfile.TemporaryDirectory() as scratch:
        peers = Peers(sys.argv[1], scratch)
        allow_descriptors()
        for name in chosen:
            GROUPS[name](peers)


if __name__ == '__main__':
    main()
