#!/usr/bin/env python3
"""Writes corpus/*.txt: scenarios with CPython's traces, for machines without Python.

    make_corpus.py [--count 1000] [--from 100000]
    make_corpus.py --net                           corpus/net.txt alone

Takes scenarios with a new pair of operations first, then others, all of moderate size.
"""

import argparse
import os
import sys

import compare
import generate
import language
import scenario as oracle
from coverage import Coverage

PER_FILE = 100
LONGEST = 4500  # bytes of a scenario and its trace
FOUND = (916398412, 356686224)  # seeds of scenarios that once differed


def with_trace(text, seed, trace):
    return text + '\n'.join([f'trace {seed}', *trace, 'endtrace\n'])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=1000)
    parser.add_argument('--from', dest='first', type=int, default=100_000)
    parser.add_argument('--net', action='store_true')
    arguments = parser.parse_args()
    if sys.version_info[:2] != (3, 13):
        sys.exit('the corpus is made with Python 3.13')
    oracle.prepare()
    if arguments.net:
        arguments.count = PER_FILE
    seen, rich, plain = set(), [], []
    for seed in range(arguments.first, arguments.first + 4 * arguments.count):
        text = generate.generate(seed, net='small' if arguments.net else None)
        coverage = Coverage()
        trace = compare.expected(text.splitlines(), coverage)
        if trace is None:
            continue
        entry = with_trace(text, seed, trace)
        if len(entry) > LONGEST:
            continue
        found = set(coverage.pairs) | {('meets', *k) for k in coverage.meetings}
        found |= {('outcome', *k) for k in coverage.outcomes}
        (rich if found - seen else plain).append(entry)
        seen |= found
    found = () if arguments.net else FOUND
    chosen = (rich + plain)[:arguments.count - len(found)]
    for seed in found:
        text = generate.generate(seed)
        chosen.append(with_trace(text, seed, compare.expected(text.splitlines())))
    here = os.path.dirname(os.path.abspath(__file__))
    if arguments.net:  # scenarios that once differed, made small by hand
        with open(os.path.join(here, 'found_net.txt'), encoding='utf-8') as file:
            for name, lines, _ in language.split_file(file.read()):
                text = '\n'.join(lines) + '\n'
                chosen.append(with_trace(text, name, compare.expected(lines)))
    folder = os.path.join(here, 'corpus')
    os.makedirs(folder, exist_ok=True)
    for start in range(0, 1 if arguments.net else len(chosen), PER_FILE):
        name = 'net' if arguments.net else f'{start // PER_FILE:02}'
        name = os.path.join(folder, name + '.txt')
        with open(name, 'w', encoding='utf-8') as file:
            file.writelines(chosen if arguments.net else chosen[start:start + PER_FILE])
    print(f'{len(chosen)} scenarios ({len(rich)} with something new), '
          f'{sum(map(len, chosen))} bytes')


if __name__ == '__main__':
    main()
