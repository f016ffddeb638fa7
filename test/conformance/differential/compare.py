"""Runs scenarios on the oracle and on a runner, and finds the first difference."""

import subprocess

import language
import scenario as oracle
from coverage import Coverage

MISSING = 'nothing'
# Part of the report of an error that no code has asked for.
LOST = ' - 0 handler Task exception was never retrieved: '


def usable(trace):
    """False if the trace has tasks that never end: neither side promises an order for them."""
    return not any(' - 0 end ' in line and ' pending ' in line or ' GIVEUP' in line
                   or ' late Task was destroyed' in line for line in trace)


def expected(lines, coverage=None):
    """The oracle's trace; None if the scenario cannot be used."""
    own = Coverage() if coverage is not None else None
    trace = oracle.trace_of(lines, own)
    if not usable(trace):
        return None
    if coverage is not None:
        coverage.add(own)
    return trace


def run_many(command, texts, timeout=60):
    """The traces that the runner gives for scenarios of different names: {name: lines}.

    A scenario in which the runner dies or hangs gets a last line CRASH or HANG; those after it are
    run in a new process.
    """
    traces = {}
    todo = {text.split('\n', 1)[0].split()[1]: text for text in texts}
    while todo:
        try:
            process = subprocess.run(command, input=''.join(todo.values()), text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     timeout=timeout, check=False, errors='replace')
            output, end = process.stdout, f'CRASH {process.returncode} {process.stderr[-300:]}'
        except subprocess.TimeoutExpired as error:
            output, end = (error.stdout or b'').decode(errors='replace'), 'HANG'
        found = language.split_traces(output)
        for name, lines in found.items():
            if lines and lines[-1] == 'CUT':
                lines[-1] = end
        traces.update(found)
        left = {name: text for name, text in todo.items() if name not in found}
        if len(left) == len(todo):  # died before a trace began: the first scenario is to blame
            name = next(iter(left))
            traces[name] = [end]
            del left[name]
        todo = left
    return traces


def settled(want, got):
    """Both traces without the reports of lost errors that CPython makes later.

    It frees a cycle of references some time later (`late`), and a task that a traceback's frames
    name when the traceback goes; fiber when the last reference from outside goes. The number of
    these reports is compared, and that fiber's is not the later one.
    """
    for text in {line.split(' - 0 late ', 1)[1] for line in want if ' - 0 late ' in line}:
        want, got = without(want, got, (' - 0 handler ' + text, ' - 0 late ' + text))
    if want != got:
        for text in {line.split(' - 0 handler ', 1)[1] for line in got if LOST in line}:
            want, got = without(want, got, (' - 0 handler ' + text,), earlier=True)
    return want, got


def without(want, got, ends, earlier=False):
    """Both traces without the lines with these ends, if their numbers are equal.

    With `earlier`, only if each of `got` comes no later than its counterpart.
    """
    places = [[i for i, line in enumerate(trace) if line.endswith(ends)] for trace in (want, got)]
    same = len(places[0]) == len(places[1])
    if not same or (earlier and any(ours > theirs for theirs, ours in zip(*places))):
        return want, got
    return [[line for line in trace if not line.endswith(ends)] for trace in (want, got)]


def first_difference(want, got):
    """Index of the first line that differs; None if the traces are equal."""
    want, got = settled(want, got)
    for index in range(max(len(want), len(got))):
        a = want[index] if index < len(want) else MISSING
        b = got[index] if index < len(got) else MISSING
        if a != b:
            return index
    return None


def report(text, want, got, before=6, after=3):
    """The lines around the first difference, and the statements that these lines are about."""
    source = text.split('\n')
    want, got = settled(want, got)
    index = first_difference(want, got)

    def describe(mark, line):
        words = line.split()
        statement = ''
        if len(words) > 2 and words[2].isdigit() and words[2] != '0':
            number = int(words[2])
            statement = source[number - 1].strip() if number <= len(source) else ''
        return f'  {mark} {line:50} {statement}'.rstrip()

    lines = [describe(' ', line) for line in want[max(0, index - before):index]]
    lines += [describe('P', line) for line in want[index:index + after]]
    lines += [describe('C', line) for line in got[index:index + after]]
    return '\n'.join(lines)
