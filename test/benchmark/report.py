#!/usr/bin/env python3
"""Writes the tables and the plots from the JSON of one run.

    build/test/benchmark/bench --peers test/benchmark/peers --json figures.json
    test/benchmark/report.py figures.json

All rows go between the lines <!-- figures --> and <!-- end of figures --> of the README.md beside
this script, the rows of SHORT between those of the README at the top; the plots go into growth.svg
and http.svg (with gnuplot, where it is installed).
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent
top = here.parent.parent
COLUMNS = ['fiber', 'raw Boost.Context', 'Boost.Fiber', 'Go', 'CPython', 'uvloop']
NAMES = {'CPython': 'asyncio'}
WORK = re.compile(r'growth: (.*), (\d+) tasks')
SERVER = re.compile(r'HTTP server, (\d+) connections, per request')
GROUPS = {
    'switches': 'Switches, ns',
    'generators': 'Generators, ns per item',
    'tasks': 'Tasks and timers, ns',
    'synchronization': 'Queues and locks, ns',
    'threads': 'Threads, ns',
    'scale': 'A million, ns each',
    'echo': 'Network, ns',
    'files': 'Files, ns per read',
    'http': 'HTTP, ns per request',
    'memory': 'Memory, bytes each',
}
# The rows with peers that users ask for first.
SHORT = [
    'switch one way',
    'generator, per item',
    'sleep(0), 10 tasks',
    'create and await one task',
    'queue ping-pong, round trip',
    'TCP echo, 100 connections, per message',
    'TLS echo, 100 connections, per message',
    'HTTP server, 100 connections, per request',
    'HTTP client, 50 connections, per request',
]


def show(value):
    if value is None:
        return ''
    if value < 100:
        return f'{value:.1f}'
    return f'{value:,.0f}'.replace(',', ' ')


def row(work, columns):
    figures = {who: figure['median'] for who, figure in work['figures'].items()}
    cells = [show(figures.pop(name, None)) for name in columns]
    others = ', '.join(f'{who} {show(value)}' for who, value in figures.items())
    return f'| {work["work"].removeprefix("memory: ")} | ' + ' | '.join(cells) + f' | {others} |'


def head(title, columns):
    yield f'| {title} | ' + ' | '.join(NAMES.get(name, name) for name in columns) + ' | others |'
    yield '|---' + '|--:' * len(columns) + '|---|'


def group_of(work):
    return 'memory' if work['work'].startswith('memory: ') else work['group']


def tables(works, columns):
    """A table for each group; columns without figures are left out."""
    for group, title in GROUPS.items():
        rows = [work for work in works if group_of(work) == group and not WORK.match(work['work'])]
        if not rows:
            continue
        used = [name for name in columns
                if name == 'fiber' or any(name in work['figures'] for work in rows)]
        yield from head(title, used)
        for work in sorted(rows, key=lambda work: work['work']):
            yield row(work, used)
        yield ''


def headers(works):
    """The table of the cost of including headers."""
    rows = {}
    for work in works:
        found = re.match(r'include (<.*>): (.*)', work['work'])
        if found:
            rows.setdefault(found[1], {})[found[2]] = next(iter(work['figures'].values()))['median']
    if rows:
        yield '| header | ms to compile at -O2 | KiB of object file |'
        yield '|---|--:|--:|'
    for header, figures in rows.items():
        yield (f'| `{header}` | {show(figures.get("ms to compile"))} '
               f'| {show(figures.get("bytes of object", 0) / 1024)} |')


def plot(name, lines, settings):
    """Draws lines of points into a file; false without any, or without gnuplot."""
    if not lines or not shutil.which('gnuplot'):
        return False
    script = [
        'set terminal svg size 760,420 background "white" font "sans,13"',
        f'set output "{here / name}"', 'set logscale xy', 'set grid',
        'set format x "10^{%T}"', *settings,
        'plot ' + ', '.join(f'"-" title "{title}" with linespoints pointtype 7 linewidth 2'
                            for title in lines),
    ]
    for points in lines.values():
        script += [f'{x} {y}' for x, y in sorted(points)] + ['e']
    subprocess.run(['gnuplot'], input='\n'.join(script) + '\n', text=True, check=True)
    return True


def plot_growth(works):
    lines = {}
    for work in works:
        if found := WORK.match(work['work']):
            lines.setdefault(found[1], []).append(
                (int(found[2]), work['figures']['fiber']['median']))
    return plot('growth.svg', lines, [
        'set xlabel "tasks"', 'set ylabel "ns per operation"', 'set key top left',
        'set xrange [5:2000000]'])


def plot_servers(works):
    lines = {}
    for work in works:
        if found := SERVER.match(work['work']):
            for who, figure in work['figures'].items():
                lines.setdefault(NAMES.get(who, who), []).append(
                    (int(found[1]), 1e9 / figure['median']))
    if all(len(points) < 2 for points in lines.values()):
        return False
    return plot('http.svg', lines, [
        'set xlabel "connections"', 'set ylabel "requests per second"', 'set key outside right',
        'set xrange [0.8:8000]', 'unset logscale y', 'set yrange [0:*]'])


def replace(page, lines):
    text = page.read_text()
    begin, end = '<!-- figures -->\n', '<!-- end of figures -->'
    before, rest = text.split(begin)
    page.write_text(before + begin + '\n'.join(lines).rstrip() + '\n' + end + rest.split(end)[1])


def machine(data):
    context = data['context']
    return (f'{context["processor"]}, {context["cores"]} cores, {context["kernel"]}, '
            f'GCC {context["compiler"].split()[0]}, {context["date"]}')


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data = json.loads(pathlib.Path(sys.argv[1]).read_text())
    works = data['works']
    peers = ', '.join(f'{who} {text.replace("_", ".")}'
                      for who, text in sorted(data['versions'].items()))
    replace(here / 'README.md', [
        f'{machine(data)}. Peers: {peers}. Medians of one run.', '',
        *tables(works, COLUMNS), *headers(works)])
    found = {work['work']: work for work in works}
    short = [name for name in COLUMNS if name != 'raw Boost.Context']
    replace(top / 'README.md', [
        f'Nanoseconds, medians of one run: {machine(data)}.', '',
        *head('work', short), *(row(found[name], short) for name in SHORT if name in found)])
    for draw, group in (plot_growth, 'growth'), (plot_servers, 'http'):
        if not draw(works):
            print(f'a plot was not made: it needs gnuplot and the group {group}', file=sys.stderr)


main()
