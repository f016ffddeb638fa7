"""The scenario language: parsing, printing, versions of Python. README.md describes it."""

OPENERS = {
    'body', 'agen', 'action', 'try', 'timeout', 'group', 'with', 'repeat', 'afor',
}
SEPARATORS = {'except', 'finally'}

OBJECT_KINDS = {'lock', 'cond', 'sem', 'bsem', 'event', 'queue', 'barrier', 'future', 'pair', 'proto'}


class Statement:
    """One statement: its line in the scenario, its words, and for a block its sections.

    A section is (line, words of the line that opens it, statements). `safe`: the operation was
    followed by `?`: an Exception that it raises is logged and goes no further.
    """

    __slots__ = ('line', 'op', 'args', 'safe', 'sections')

    def __init__(self, line, op, args, sections=()):
        self.line = line
        self.safe = op.endswith('?')
        self.op = op.rstrip('?')
        self.args = args
        self.sections = sections


class Scenario:
    """A parsed scenario: `name`, `objects` (declarations) and named bodies, agens and actions."""

    def __init__(self, name):
        self.name = name
        self.text = ''
        self.mode = 'idle'
        self.eager = False
        self.objects = []
        self.bodies = {}
        self.agens = {}
        self.actions = {}

    def statements(self):
        """Every statement, outer ones before those inside them."""
        tables = (self.bodies, self.agens, self.actions)
        todo = [s for table in tables for block in table.values() for s in block]
        while todo:
            statement = todo.pop()
            yield statement
            for section in statement.sections:
                todo.extend(section[2])


def parse(lines):
    """Parse one scenario: its lines from `scenario NAME` to `endscenario`."""
    scenario = Scenario(lines[0].split()[1])
    scenario.text = '\n'.join(lines) + '\n'
    stack = []
    for number, raw in enumerate(lines, 1):
        words = raw.split()
        if not words or words[0].startswith('#') or words[0] in ('scenario', 'endscenario'):
            continue
        op, args = words[0], words[1:]
        if op == 'end':
            opener, sections = stack.pop()
            if stack:
                stack[-1][1][-1][2].append(Statement(opener[0], opener[1], opener[2], sections))
            else:
                table = {'body': scenario.bodies, 'agen': scenario.agens,
                         'action': scenario.actions}[opener[1]]
                table[opener[2][0]] = sections[0][2]
        elif op in SEPARATORS:
            stack[-1][1].append((number, words, []))
        elif op in OPENERS:
            stack.append(((number, op, args), [(number, words, [])]))
        elif stack:
            stack[-1][1][-1][2].append(Statement(number, op, args))
        elif op == 'mode':
            scenario.mode = args[0]
        elif op == 'eager':
            scenario.eager = True
        elif op in OBJECT_KINDS:
            scenario.objects.append(Statement(number, op, args))
        else:
            raise ValueError(f'line {number}: {raw!r} outside of a block')
    if stack:
        raise ValueError(f'{stack[-1][0]} has no end')
    declared = {s.args[0] for s in scenario.objects if s.op == 'proto'}
    for statement in scenario.statements():
        if statement.op in ('connect', 'tproto') and statement.args[1] not in declared:
            raise ValueError(f'line {statement.line}: no such protocol')
    return scenario


def split_file(text):
    """The scenarios of a file: (name, lines, stored trace or None) each."""
    result = []
    lines, trace = None, None
    for line in text.splitlines():
        if line.startswith('scenario '):
            lines = [line]
        elif line == 'endscenario':
            lines.append(line)
            result.append((lines[0].split()[1], lines, None))
            lines = None
        elif line.startswith('trace '):
            trace = []
        elif line == 'endtrace':
            name, scenario_lines, _ = result[-1]
            result[-1] = (name, scenario_lines, trace)
            trace = None
        elif lines is not None:
            lines.append(line)
        elif trace is not None:
            trace.append(line)
    return result


def split_traces(text):
    """The traces of a runner's output: {name: lines}; a trace that broke off ends with 'CUT'."""
    traces, name = {}, None
    for line in text.splitlines():
        if name is None:
            if line.startswith('trace '):
                name = line.split()[1]
                traces[name] = []
        elif line == 'endtrace':
            name = None
        else:
            traces[name].append(line)
    if name is not None:
        traces[name].append('CUT')
    return traces


# Operations whose behaviour differs between versions of Python. A scenario that uses one is
# compared only with a Python in which the operation behaves as in 3.13.
NEWER_THAN_311 = {'waitfor', 'within', 'gather', 'gather2'}
NEWER_THAN_312 = {'ascompleted', 'uncancel', 'uncancelself', 'cwait', 'cwaitfor', 'bwait', 'breset', 'babort',
                  'group', 'gspawn', 'shutdown', 'timeout'}
OLDER_THAN_314 = {'shield'}


def runs_on(scenario, version):
    """Whether `version` (a tuple) treats everything in this scenario as 3.13 does."""
    operations = set()
    for statement in scenario.statements():
        operations.add(statement.op)
        if statement.op in ('within', 'optask'):
            operations.add(statement.args[1])
    if version != (3, 13) and scenario.eager:
        return False
    if version < (3, 12) and (operations & NEWER_THAN_311 or scenario.mode == 'run'):
        return False
    if version < (3, 13) and (operations & NEWER_THAN_312 or _uses_barrier(scenario)):
        return False
    return not (version >= (3, 14) and operations & OLDER_THAN_314)


def _uses_barrier(scenario):
    return any(s.op == 'barrier' for s in scenario.objects)
