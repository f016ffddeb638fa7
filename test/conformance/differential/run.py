#!/usr/bin/env python3
"""Compares a runner with this Python on random scenarios.

    run.py --runner PATH --seeds FIRST:LAST [--jobs N] [--eager] [--net] [--full]
    run.py --runner PATH --seconds N            as many new scenarios as fit into that time

Exit status 1 and the differences, shrunk, if there are any.
"""

import argparse
import gc
import multiprocessing
import secrets
import sys
import time

import compare
import generate
import language
import scenario as oracle
from coverage import Coverage
from shrink import Shrinker

CHUNK = 50


def compare_chunk(job):
    """(number compared, [(text, expected, got)], coverage) of the scenarios of some seeds."""
    command, seeds, eager, only, net = job
    coverage = Coverage()
    wanted, texts = {}, {}
    for seed in seeds:
        text = generate.generate(seed, eager, only, net)
        lines = text.splitlines()
        if not language.runs_on(language.parse(lines), sys.version_info[:2]):
            continue
        want = compare.expected(lines, coverage)
        if want is not None:
            wanted[str(seed)], texts[str(seed)] = want, text
    gc.collect()
    if command is None:
        return len(wanted), [], coverage
    traces = compare.run_many(command, texts.values())
    failures = [(texts[name], want, traces.get(name, []))
                for name, want in wanted.items()
                if compare.first_difference(want, traces.get(name, [])) is not None]
    return len(wanted), failures, coverage


def shrunk(command, text):
    lines = Shrinker(command).shrink(text.splitlines())
    text = '\n'.join([text.split('\n', 1)[0], *lines[1:]]) + '\n'
    name = text.split('\n', 1)[0].split()[1]
    return text, compare.expected(text.splitlines()), compare.run_many(command, [text])[name]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runner', help='without it only the oracle runs')
    parser.add_argument('--seeds', default='1:1001')
    parser.add_argument('--seconds', type=float, help='from a random seed, for that long')
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--show', type=int, default=3, help='differences to shrink and print')
    parser.add_argument('--eager', action='store_true', help='with the eager task factory')
    parser.add_argument('--only', help='families of operations, such as lock,queue')
    parser.add_argument('--net', action='store_true', help='with connections and pipes')
    parser.add_argument('--full', action='store_true', help='print every kind of outcome')
    arguments = parser.parse_args()
    command = [arguments.runner] if arguments.runner else None
    oracle.prepare()
    only = arguments.only.split(',') if arguments.only else None

    def chunk(first, last):
        return command, range(first, last), arguments.eager, only, arguments.net

    coverage, compared, failures = Coverage(), 0, []
    begin = time.monotonic()
    with multiprocessing.Pool(arguments.jobs) as pool:

        def take(jobs):
            nonlocal compared
            for count, failed, covered in pool.imap(compare_chunk, jobs):
                compared += count
                failures.extend(failed)
                coverage.add(covered)

        if arguments.seconds is None:
            seeds = generate.seed_range(arguments.seeds)
            take([chunk(first, min(first + CHUNK, seeds.stop))
                  for first in range(seeds.start, seeds.stop, CHUNK)])
        else:
            first = last = secrets.randbelow(10**9)
            print(f'from seed {first}', flush=True)
            while time.monotonic() < begin + arguments.seconds:
                take([chunk(last + i * CHUNK, last + (i + 1) * CHUNK)
                      for i in range(arguments.jobs)])
                last += arguments.jobs * CHUNK
            seeds = range(first, last)
    seconds = time.monotonic() - begin
    for text, want, got in failures[:arguments.show]:
        print('Differs:', text.split('\n', 1)[0])
        text, want, got = shrunk(command, text)
        print(text + compare.report(text, want, got) + '\n')
    print(f'{compared} of {len(seeds)} scenarios, --seeds {seeds.start}:{seeds.stop}, compared '
          f'with Python {sys.version.split()[0]}, {len(failures)} differ, in {seconds:.1f} s '
          f'({len(seeds) / seconds:.0f} a second)')
    if len(failures) > arguments.show:
        print('also:', *(text.split('\n', 1)[0].split()[1] for text, _, _ in failures))
    print(coverage.summary(arguments.full))
    if compared == 0:
        print('nothing was compared: start this with Python 3.13')
        return 77
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
