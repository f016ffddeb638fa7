"""Measures the cost of including each header: milliseconds of the compiler at -O2, and bytes of
the object file.

    headers.py SOURCE_ROOT [COMPILER]

Prints lines "work<TAB>who<TAB>median<TAB>low<TAB>high".
"""
import pathlib
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile

root = pathlib.Path(sys.argv[1])
compiler = shlex.split(sys.argv[2]) if len(sys.argv) > 2 else ['c++']
OURS = ['greenlet.hpp', 'generator.hpp', 'contextvars.hpp', 'asyncio.hpp', 'concurrent/futures.hpp',
        'requests.hpp', 'aiohttp.hpp', 'monkey.hpp']
OTHERS = {'the same for <boost/fiber/all.hpp>': 'boost/fiber/all.hpp',
          'the same for <iostream>': 'iostream'}


def compile_once(header, scratch):
    """Processor time in milliseconds, and the size of the object; None if it does not compile."""
    source, target = scratch / 'include.cpp', scratch / 'include.o'
    source.write_text(f'#include <{header}>\n')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*compiler, '-std=c++20', '-O2', '-DNDEBUG', f'-I{root}', '-c', source,
                           '-o', target], stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        return None
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent * 1000, target.stat().st_size


def report(work, who, values):
    print(work, who, f'{statistics.median(values):.0f}', f'{min(values):.0f}', f'{max(values):.0f}',
          sep='\t', flush=True)


def main():
    with tempfile.TemporaryDirectory() as directory:
        scratch = pathlib.Path(directory)
        headers = [('fiber', f'fiber/{name}') for name in OURS] + list(OTHERS.items())
        for who, header in headers:
            runs = [compile_once(header, scratch) for _ in range(3)]
            if None in runs:
                continue
            report(f'include <{header}>: ms to compile', who, [run[0] for run in runs])
            report(f'include <{header}>: bytes of object', who, [run[1] for run in runs])


main()
