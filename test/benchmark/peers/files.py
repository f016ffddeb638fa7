"""The rows of files: reads at random offsets of a file in the page cache, in rounds that take turns.

    files.py DIRECTORY      the directory of the programs files_*

Prints lines "work<TAB>who<TAB>median<TAB>low<TAB>high", nanoseconds per read.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

from processes import build_go, report

FILE_MIB = 256
AT_A_TIME = 32
READS = {4: 64_000, 64: 16_000}  # by KiB
ROUNDS = 5

here = pathlib.Path(__file__).parent
programs = pathlib.Path(sys.argv[1])


def peers(scratch):
    """Name, command and environment."""
    fiber = programs / 'files_fiber'
    if fiber.exists():
        yield 'fiber', [fiber], {'FIBER_AIOFILES': 'io_uring'}
        yield 'fiber on the executor', [fiber], {'FIBER_AIOFILES': 'executor'}
    if (programs / 'files_threads').exists():
        yield 'pread in a thread pool', [programs / 'files_threads'], {}
    go = build_go(here / 'files.go', scratch)
    if go:
        yield 'Go', [go], {}


def main():
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / 'data'
        with path.open('wb') as file:
            for _ in range(FILE_MIB):
                file.write(os.urandom(1 << 20))
        all_peers = list(peers(scratch))
        for kib, reads in READS.items():
            times = {who: [] for who, _, _ in all_peers}
            for _ in range(ROUNDS):
                for who, command, environment in all_peers:
                    done = subprocess.run(
                        [*command, path, str(kib * 1024), str(reads), str(AT_A_TIME)],
                        capture_output=True, text=True, env={**os.environ, **environment})
                    if done.returncode == 0:
                        times[who].append(float(done.stdout))
                    else:
                        print(f'{who}: {done.stderr.strip()}', file=sys.stderr)
            for who, taken in times.items():
                report(f'file read of {kib} KiB, {AT_A_TIME} at a time', who, taken)


main()
