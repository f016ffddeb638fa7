"""The network rows: servers on one processor, their clients on another, in rounds that take turns.

    echo.py DIRECTORY [ROW...]      the directory of the programs echo_*; rows: tcp tls udp pingpong
                                    accept idle idle-tls, all of them unless some are named

Prints lines "work<TAB>who<TAB>median<TAB>low<TAB>high", nanoseconds per message or connection, and
bytes per idle connection.
"""
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from processes import build_go, has, pin, report, start

BYTES = 512
SECONDS = 1.0
ROUNDS = 7
IDLE = 20_000
SPARE = 500  # descriptors of a process that are no connections

here = pathlib.Path(__file__).parent
programs = pathlib.Path(sys.argv[1])
OWN = {
    'tcp': {'epoll by hand': 'epoll', 'fiber': 'streams', 'fiber sock_recv': 'sock',
            'libuv': 'libuv'},
    'tls': {'epoll by hand': 'epoll_tls', 'fiber': 'tls'},
    'udp': {'epoll by hand': 'epoll_udp', 'fiber': 'datagrams',
            'fiber sock_recvfrom': 'sock_datagrams'},
    'accept': {'epoll by hand': 'epoll_accept', 'fiber': 'accept'},
}
ROWS = {
    'tcp': ('tcp', 100, 'TCP echo, 100 connections, per message'),
    'tls': ('tls', 100, 'TLS echo, 100 connections, per message'),
    'udp': ('udp', 100, 'UDP echo, 100 clients, per datagram'),
    'pingpong': ('udp', 1, 'UDP ping-pong, round trip'),
    'accept': ('accept', 100, 'connect, one byte, close: 100 at a time, each'),
}
IDLE_ROWS = {'idle': ('tcp', 'TCP'), 'idle-tls': ('tls', 'TLS')}
IDLE_PEERS = ('epoll by hand', 'fiber', 'Go', 'uvloop')


def load_program(mode):
    return programs / ('echo_load_tls' if mode == 'tls' else 'echo_load')


class Peers:
    """The installed servers of each kind."""

    def __init__(self, scratch):
        self.go = build_go(here / 'echo.go', scratch)
        self.loops = [name for name in ('asyncio', 'uvloop') if has(name)]
        self.identity = []
        if shutil.which('openssl'):
            self.identity = [pathlib.Path(scratch) / name for name in ('cert.pem', 'key.pem')]
            subprocess.run(
                ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                 '-nodes', '-days', '2', '-subj', '/CN=localhost', '-out', self.identity[0],
                 '-keyout', self.identity[1]], stderr=subprocess.DEVNULL, check=True)

    def servers(self, mode):
        if mode == 'tls' and not self.identity:
            return
        arguments = self.identity if mode == 'tls' else []
        for who, name in OWN[mode].items():
            program = programs / f'echo_{name}'
            if program.exists():
                yield who, [program, *arguments]
        for loop in self.loops:
            yield loop, [sys.executable, here / 'echo_asyncio.py', loop, mode, *arguments]
        if self.go:
            yield 'Go', [self.go, mode, *arguments]


def measure(peers, mode, connections, work):
    running, times = {}, {}
    try:
        for who, command in peers.servers(mode):
            running[who] = start(command)
            times[who] = []
        for _ in range(ROUNDS):
            for who, server in running.items():
                load = subprocess.run(
                    [load_program(mode), mode, server.port, str(connections), str(BYTES),
                     str(SECONDS)], capture_output=True, text=True, preexec_fn=lambda: pin(1))
                if load.returncode == 0:
                    times[who].append(1e9 / float(load.stdout))
        for who, taken in times.items():
            report(work, who, taken)
    finally:
        for server in running.values():
            server.kill()
            server.wait()


def resident(process):
    text = pathlib.Path(f'/proc/{process.pid}/smaps_rollup').read_text()
    return int(re.search(r'^Rss:\s+(\d+) kB', text, re.MULTILINE)[1]) * 1024


def measure_idle(peers, mode, name):
    count = min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE)
    for who, command in peers.servers(mode):
        if who not in IDLE_PEERS:
            continue
        server = start(command)
        load = subprocess.Popen([load_program(mode), 'idle', server.port, str(count)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                preexec_fn=lambda: pin(1))
        try:
            before = resident(server)
            if load.stdout.readline().strip() == str(count):
                time.sleep(1)  # the server may not have seen the last ones yet
                report(f'memory: idle {name} connection, of {count}', who,
                       [(resident(server) - before) / count])
        finally:
            for process in (server, load):
                process.kill()
                process.wait()


def allow_many_files():
    """As many as the limit allows; a privileged user may go beyond."""
    for limit in (IDLE + SPARE, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return
        except (ValueError, OSError):
            continue


def main():
    rows = sys.argv[2:] or [*ROWS, *IDLE_ROWS]
    allow_many_files()
    with tempfile.TemporaryDirectory() as scratch:
        peers = Peers(scratch)
        for row in rows:
            run, its = (measure, ROWS[row]) if row in ROWS else (measure_idle, IDLE_ROWS[row])
            if load_program(its[0]).exists():
                run(peers, *its)


main()
