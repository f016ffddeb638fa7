"""The echo row: servers on one processor, their clients on another, in rounds that take turns.

    echo.py DIRECTORY      the directory of the programs echo_*

Prints lines "work<TAB>who<TAB>median<TAB>low<TAB>high", nanoseconds per message.
"""
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from processes import has, pin

CONNECTIONS = 100
BYTES = 512
SECONDS = 1.0
ROUNDS = 7

here = pathlib.Path(__file__).parent
programs = pathlib.Path(sys.argv[1])


def servers(scratch):
    for name, who in (('epoll', 'epoll by hand'), ('streams', 'fiber'), ('sock', 'fiber sock_recv'),
                      ('libuv', 'libuv')):
        if (programs / f'echo_{name}').exists():
            yield who, [programs / f'echo_{name}']
    yield 'asyncio', [sys.executable, here / 'echo_asyncio.py']
    if has('uvloop'):
        yield 'uvloop', [sys.executable, here / 'echo_asyncio.py', 'uvloop']
    if shutil.which('go'):
        program = pathlib.Path(scratch) / 'echo_go'
        if subprocess.run(['go', 'build', '-o', program, here / 'echo.go']).returncode == 0:
            yield 'Go', [program]


def main():
    with tempfile.TemporaryDirectory() as scratch:
        running, times = [], {}
        try:
            for who, command in servers(scratch):
                server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                                          env={**os.environ, 'GOMAXPROCS': '1'},
                                          preexec_fn=lambda: pin(0))
                running.append(server)
                times[who] = []
                server.port = server.stdout.readline().strip()
            for _ in range(ROUNDS):
                for server, taken in zip(running, times.values()):
                    load = subprocess.run(
                        [programs / 'echo_load', server.port, str(CONNECTIONS), str(BYTES),
                         str(SECONDS)], capture_output=True, text=True, preexec_fn=lambda: pin(1))
                    if load.returncode == 0:
                        taken.append(1e9 / float(load.stdout))
            for who, taken in times.items():
                if taken:
                    print(f'TCP echo, {CONNECTIONS} connections, per message', who,
                          f'{statistics.median(taken):.1f}', f'{min(taken):.1f}',
                          f'{max(taken):.1f}', sep='\t', flush=True)
        finally:
            for server in running:
                server.kill()
                server.wait()


main()
