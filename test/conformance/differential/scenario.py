#!/usr/bin/env python3
"""The oracle: runs the scenarios of files (or of stdin) on CPython and prints their traces.

    scenario.py [--pure] [--check] [FILE...]

--pure runs them on asyncio's tasks and futures written in Python instead of the ones in C.
--check prints nothing but differences from the traces that the files hold (exit status 1).
"""

import argparse
import gc
import logging
import re
import sys
import warnings

import language
import network
import virtual_loop
from interpreter import Interpreter


def prepare(pure=False):
    """Call once per process, before anything runs."""
    virtual_loop.install(pure)
    network.repair()
    warnings.simplefilter('ignore')
    logging.getLogger('asyncio').disabled = True
    sys.unraisablehook = lambda arguments: None  # tasks that never end would report here
    gc.disable()  # reports of lost exceptions must come from reference counts alone
    gc.freeze()


def trace_of(lines, coverage=None):
    """The trace of one scenario, a list of lines."""
    return Interpreter(language.parse(lines), coverage).execute()


def with_texts_of_c(trace):
    """The trace with the messages of CPython's C code: its Python code words two differently."""
    trace = trace.replace('(Result is not ready.)', '(Result is not set.)')
    return re.sub(r'(InvalidStateError)\((CANCELLED|FINISHED): \)', r'\1(invalid state)', trace)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pure', action='store_true')
    parser.add_argument('--check', action='store_true')
    parser.add_argument('files', nargs='*')
    arguments = parser.parse_args()
    texts = [open(name, encoding='utf-8').read() for name in arguments.files]
    prepare(arguments.pure)
    compared = left_out = different = 0
    for text in texts or [sys.stdin.read()]:
        for name, lines, stored in language.split_file(text):
            if not language.runs_on(language.parse(lines), sys.version_info[:2]):
                left_out += 1
                continue
            trace = trace_of(lines)
            if arguments.pure:
                trace = with_texts_of_c('\n'.join(trace)).split('\n')
            if not arguments.check:
                print('\n'.join([f'trace {name}', *trace, 'endtrace']), flush=True)
            elif trace != stored:
                different += 1
                print(f'scenario {name} differs')
            compared += 1
            if compared % 100 == 0:
                gc.collect()
    if arguments.check:
        print(f'{compared} compared, {different} differ, {left_out} left out')
    return 1 if different else 0


if __name__ == '__main__':
    sys.exit(main())
