#!/usr/bin/env python3
"""Writes the README's table and plot from the JSON of one run.

    build/test/benchmark/bench --peers test/benchmark/peers --json figures.json
    test/benchmark/report.py figures.json [native.json]

native.json is another run's, right before or after and without peers, of a library that was
configured with -Dcontext=native: a further column has its figures where they differ by a twentieth.

The table goes between the lines <!-- figures --> and <!-- end of figures --> of README.md, the plot
into growth.svg beside this script (with gnuplot, where it is installed).
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent
readme = here.parent.parent / 'README.md'
COLUMNS = ['fiber', 'raw Boost.Context', 'Boost.Fiber', 'Go', 'CPython', 'uvloop']
NATIVE = 'native jump'
NAMES = {'CPython': 'asyncio', NATIVE: 'fiber, native jump'}
WORK = re.compile(r'growth: (.*), (\d+) tasks')


def show(value):
    if value is None:
        return ''
    if value < 100:
        return f'{value:.1f}'
    return f'{value:,.0f}'.replace(',', ' ')


def add_native(works, native):
    """Our figures of the run on the native jump, where they are others."""
    theirs = {work['work']: work['figures'].get('fiber') for work in native}
    for work in works:
        ours, other = work['figures'].get('fiber'), theirs.get(work['work'])
        if ours and other and abs(other['median'] - ours['median']) > 0.05 * ours['median']:
            work['figures'][NATIVE] = other


def table(works, columns):
    yield '| work | ' + ' | '.join(NAMES.get(name, name) for name in columns) + ' | others |'
    yield '|---' * (len(columns) + 2) + '|'
    for work in works:
        if WORK.match(work['work']) or work['work'].startswith('include '):
            continue
        figures = {who: figure['median'] for who, figure in work['figures'].items()}
        cells = [show(figures.pop(name, None)) for name in columns]
        others = ', '.join(f'{who} {show(value)}' for who, value in figures.items())
        yield f'| {work["work"]} | ' + ' | '.join(cells) + f' | {others} |'


def headers(works):
    """The cost of including: a table of its own."""
    rows = {}
    for work in works:
        found = re.match(r'include (<.*>): (.*)', work['work'])
        if found:
            rows.setdefault(found[1], {})[found[2]] = next(iter(work['figures'].values()))['median']
    if rows:
        yield '| header | ms to compile at -O2 | KiB of object file |'
        yield '|---|---|---|'
    for header, figures in rows.items():
        yield (f'| `{header}` | {show(figures.get("ms to compile"))} '
               f'| {show(figures.get("bytes of object", 0) / 1024)} |')


def plot(works):
    lines = {}
    for work in works:
        found = WORK.match(work['work'])
        if found:
            lines.setdefault(found[1], []).append(
                (int(found[2]), work['figures']['fiber']['median']))
    if not lines or not shutil.which('gnuplot'):
        return False
    script = [
        'set terminal svg size 760,420 background "white" font "sans,13"',
        f'set output "{here / "growth.svg"}"',
        'set logscale xy', 'set xlabel "tasks"', 'set ylabel "ns per operation"', 'set grid',
        'set key top left', 'set format x "10^{%T}"', 'set xrange [5:2000000]',
        'plot ' + ', '.join(f'"-" title "{name}" with linespoints pointtype 7 linewidth 2'
                            for name in lines),
    ]
    for points in lines.values():
        script += [f'{x} {y}' for x, y in sorted(points)] + ['e']
    subprocess.run(['gnuplot'], input='\n'.join(script) + '\n', text=True, check=True)
    return True


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    data, *native = (json.loads(pathlib.Path(name).read_text()) for name in sys.argv[1:])
    columns = COLUMNS
    if native:
        add_native(data['works'], native[0]['works'])
        columns = COLUMNS[:1] + [NATIVE] + COLUMNS[1:]
    context = data['context']
    lines = [f'{context["processor"]}, {context["cores"]} cores, GCC {context["compiler"].split()[0]}, '
             f'{context["date"]}. Nanoseconds per item, or bytes; medians of one run.', '',
             *table(data['works'], columns), '', *headers(data['works'])]
    text = readme.read_text()
    begin, end = '<!-- figures -->\n', '<!-- end of figures -->'
    head, rest = text.split(begin)
    readme.write_text(head + begin + '\n' + '\n'.join(lines) + '\n\n' + end + rest.split(end)[1])
    if not plot(data['works']):
        print('the plot was not made: it needs gnuplot and the group growth', file=sys.stderr)


main()
