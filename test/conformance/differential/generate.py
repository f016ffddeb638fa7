#!/usr/bin/env python3
"""Random scenarios: the same seed always gives the same text.

    generate.py FIRST:LAST      prints the scenarios of those seeds (LAST is left out)

Each scenario draws a few families of operations, so that its operations interact, and few names and
short delays, so that events collide in one tick. The bodies are numbered, and a body spawns,
calls and awaits only bodies of higher numbers: no recursion, no circle of tasks that wait for each
other. Anything may cancel anything.
"""

import random
import sys

import generate_network
from generate_main import write_main
from generate_statements import BLOCK_STATEMENTS, STATEMENTS

FAMILIES = {'lock': 2, 'cond': 2, 'sem': 2, 'bsem': 1, 'event': 1, 'queue': 3, 'barrier': 1.5,
            'future': 2, 'gather': 2, 'wait': 1.5, 'waitfor': 2, 'shield': 1.5, 'timeout': 3, 'group': 4,
            'callback': 1.5, 'agen': 1, 'ascompleted': 1, 'context': 0.5, 'busy': 1}

# The weights of plain statements, by family; `core` is always used.
WEIGHTS = {
    'core': {'sleep': 14, 'sleep0': 12, 'cancel': 12, 'await': 9, 'spawn': 5, 'call': 3,
             'state': 2, 'raise': 2, 'raisecancel': 0.4, 'cancelself': 1.5, 'uncancel': 0.8,
             'uncancelself': 1.2, 'result': 0.7, 'exception': 0.7, 'current': 0.4,
             'alltasks': 0.4, 'awaitself': 0.1,
             'within': 0.7},
    'lock': {'acquire': 4, 'release': 5, 'locked': 1, 'optask': 1},
    'cond': {'cacquire': 2, 'crelease': 2, 'cwait': 5, 'cwaitfor': 1, 'notify': 5,
             'notifyall': 2, 'optask': 1},
    'sem': {'sacquire': 6, 'srelease': 6, 'slocked': 1, 'optask': 1},
    'bsem': {'bacquire': 5, 'brelease': 5},
    'event': {'ewait': 7, 'eset': 5, 'eclear': 3, 'eisset': 1, 'optask': 1},
    'queue': {'put': 6, 'get': 8, 'putnow': 4, 'getnow': 2, 'taskdone': 3, 'join': 2,
              'shutdown': 0.7, 'qsize': 1, 'optask': 2},
    'barrier': {'bwait': 9, 'breset': 1, 'babort': 0.6, 'bstate': 1, 'optask': 2},
    'future': {'future': 3, 'set': 6, 'fail': 3, 'await': 6, 'cancel': 3},
    'gather': {'gather': 9, 'gather2': 3},
    'wait': {'wait': 8},
    'waitfor': {'waitfor': 9, 'within': 5},
    'shield': {'shield': 7, 'await': 2},
    'timeout': {'resched': 2, 'expired': 2},
    'group': {'gspawn': 7},
    'callback': {'addcb': 5, 'rmcb': 1, 'soon': 5, 'later': 4, 'hcancel': 2},
    'agen': {},
    'ascompleted': {'ascompleted': 8},
    'context': {'ctxset': 3, 'ctxget': 4},
    'busy': {'busy': 4},
}
BLOCK_WEIGHTS = {
    'core': {'try': 16, 'repeat': 2},
    'lock': {'with_lock': 7}, 'cond': {'with_cond': 9}, 'sem': {'with_sem': 4},
    'bsem': {'with_bsem': 4}, 'timeout': {'timeout': 16}, 'group': {'group': 24},
    'agen': {'afor': 12}, 'barrier': {'with_barrier': 1},
}
ACTION_OPERATIONS = ['cancel', 'set', 'fail', 'eset', 'eclear', 'release', 'srelease', 'brelease',
                     'putnow', 'getnow', 'taskdone', 'soon', 'later', 'hcancel', 'spawn', 'raise',
                     'state', 'gspawn', 'resched', 'ctxget', 'current', 'alltasks', 'shutdown',
                     'addcb', 'gather', 'shield', 'uncancel', 'result', 'exception', 'busy',
                     'ctxset', 'future']
FALLIBLE = {'release', 'await', 'call', 'result', 'exception', 'set', 'fail', 'putnow', 'getnow',
            'taskdone', 'put', 'get', 'notify', 'notifyall', 'cwait', 'cwaitfor', 'bwait', 'gspawn',
            'waitfor', 'within', 'resched', 'awaitself', *generate_network.FALLIBLE}
SUSPENDING = {'acquire', 'cacquire', 'cwait', 'sacquire', 'bacquire', 'ewait', 'put', 'get', 'join',
              'bwait', 'await', 'gather', 'gather2', 'wait', 'waitfor', 'within', 'shield', 'ascompleted',
              *generate_network.WAITS}
DECLARED = {'lock': 'L', 'cond': 'C', 'sem': 'S', 'bsem': 'B', 'event': 'E', 'queue': 'Q',
            'barrier': 'R'}


class Generator:
    def __init__(self, seed, eager=False, only=None, net=None):
        self.random = random.Random(seed)
        self.seed = seed
        self.eager = eager
        self.only = only
        self.net = net
        self.choice = {k: w for k, w in FAMILIES.items() if only is None or k in only}
        self.lines = []
        self.depth = 0
        self.budget = self.random.choice([12, 20, 30, 40, 50, 60])
        self.level = 0  # the number of the body being written; actions are level -1
        self.bound = {}  # name of a future -> the lowest level that it may wait for (99: none)
        self.scopes, self.handles = [], []  # names: timeouts and groups; call_soon handles
        self.serial = {}
        self.held = []  # the locks of the `with` blocks around the current statement

    # Small choices.

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, sequence):
        return self.random.choice(sequence)

    def weighted(self, table):
        return self.random.choices(list(table), list(table.values()))[0]

    def delay(self):
        return self.pick([0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5])

    def fresh(self, letter):
        self.serial[letter] = self.serial.get(letter, 0) + 1
        return f'{letter}{self.serial[letter]}'

    def emit(self, *words):
        self.lines.append('  ' * self.depth + ' '.join(str(w) for w in words))

    # Names that can be used here.

    def body_above(self):
        return f'b{self.random.randint(self.level + 1, self.bodies)}'

    def awaitable(self):
        """A future that this body may await, or None."""
        names = [n for n, level in self.bound.items() if level > self.level]
        return self.pick(names) if names else None

    def any_future(self):
        return self.pick(list(self.bound)) if self.bound else None

    def item(self, coroutines=True):
        """An argument of gather and similar functions, or None."""
        if coroutines and self.level < self.bodies and self.chance(0.35):
            return self.body_above() + '()'
        return self.awaitable()

    def items(self, coroutines=True):
        words = [self.item(coroutines) for _ in range(self.pick([1, 2, 2, 3, 3, 4]))]
        return [w for w in words if w is not None and w[0] not in 'GD']

    def lowest(self, words):
        """The level of a future that waits for all the futures named."""
        return min([int(w[1:-2]) if w.endswith('()') else self.bound[w] for w in words],
                   default=99)

    def scopes_of(self, letter):
        return [n for n in self.scopes if n.startswith(letter)]

    def objects(self, kind):
        return [f'{DECLARED[kind]}{i}' for i in range(1, self.declared.get(kind, 0) + 1)]

    # The scenario.

    def scenario(self):
        count = self.pick([1, 1, 1, 2, 2, 3, 4])
        self.families = {self.weighted(self.choice) for _ in range(count)}
        if self.chance(0.04):
            self.families = set(self.choice)
        self.plain, self.blocks = {}, {}
        for family in ['core', *sorted(self.families)]:
            factor = 0.6 if family == 'core' else 5 / (count + 1)
            for table, source in ((self.plain, WEIGHTS), (self.blocks, BLOCK_WEIGHTS)):
                for op, weight in source.get(family, {}).items():
                    table[op] = table.get(op, 0) + weight * factor
        self.bodies = self.pick([1, 2, 2, 3, 3, 4])
        self.waiters = dict(self.plain)
        for op in SUSPENDING & set(self.plain):
            self.waiters[op] *= 4
        self.actions = self.pick([1, 2]) if 'callback' in self.families else 0
        if self.net:
            self.actions = self.pick([0, 1, 2, 3])
        self.agens = self.pick([1, 2]) if 'agen' in self.families else 0
        self.emit('scenario', self.seed)
        if self.chance(0.15):
            self.emit('mode run')
        if self.eager:
            self.emit('eager')
        self.declare()
        if self.net:
            generate_network.declare(self)
        # Names of the tasks and futures that main binds first, so that all bodies may use them.
        levels = [self.random.randint(1, self.bodies) for _ in range(self.pick([1, 2, 4]))]
        self.first = [(self.fresh('T'), self.pick(levels))
                      for _ in range(self.pick([1, 2, 3, 3, 4, 5]))]
        self.bound.update(self.first)
        share = max(4, self.budget // (self.bodies + 1))
        for level in range(self.bodies, 0, -1):
            self.level = level
            self.body(f'b{level}', share)
        self.level = self.bodies
        for number in range(1, self.agens + 1):
            self.agen(f'a{number}')
        for number in range(1, self.actions + 1):
            self.action(f'k{number}')
        write_main(self, share)
        self.emit('endscenario')
        return '\n'.join(self.lines) + '\n'

    def declare(self):
        self.declared = {}
        for kind in DECLARED:
            if kind in self.families or (kind == 'event' and 'cond' in self.families):
                self.declared[kind] = self.pick([1, 1, 1, 2])
        for kind in self.declared:
            for name in self.objects(kind):
                extra = []
                if kind in ('sem', 'bsem'):
                    extra = [self.pick([0, 1, 1, 2]) if kind == 'sem' else self.pick([1, 1, 2])]
                elif kind == 'queue':
                    extra = [self.pick(['fifo', 'fifo', 'prio', 'lifo']), self.pick([0, 0, 1, 1, 2, 3])]
                elif kind == 'barrier':
                    extra = [self.pick([1, 2, 2, 3])]
                elif kind == 'cond' and 'lock' in self.declared and self.chance(0.4):
                    extra = ['L1']
                self.emit(kind, name, *extra)
        if 'future' in self.families or (not self.only and self.chance(0.3)):
            for _ in range(self.pick([1, 2, 3])):
                name = self.fresh('F')
                self.emit('future', name)
                self.bound[name] = 99

    def body(self, name, share):
        waits = self.chance(0.5)  # a body that mostly waits
        if waits:
            self.plain, self.waiters = self.waiters, self.plain
            share = max(2, share // 2)
        self.emit('body', name)
        self.depth += 1
        if self.chance(0.25):  # a body that survives a cancellation
            BLOCK_STATEMENTS['try'](self, share // 2, ['Cancelled'])
            share -= share // 2
        elif self.chance(0.7):  # a body that begins with the operations of its families
            share -= self.typical(share)
        self.statements(max(1, share))
        if 'group' in self.families and self.chance(0.4):
            self.emit('raise', self.pick('xyz'))
        self.depth -= 1
        self.emit('end')
        if waits:
            self.plain, self.waiters = self.waiters, self.plain

    def typical(self, share):
        """Writes a wait or a block of the families drawn; returns how much of `share` it took."""
        waits = {op: w for op, w in self.plain.items() if op in SUSPENDING and op != 'await'}
        blocks = {op: w for op, w in self.blocks.items() if op not in ('try', 'repeat')}
        if blocks and (not waits or self.chance(0.5)):
            self.block_statement(self.weighted(blocks), share // 2)
            return share // 2 + 1
        if waits:
            self.plain_statement(waits)
            return 1
        return 0

    def block(self, *words_size_likely):
        """Writes a block of about `size` statements, some of them `likely` ones."""
        *words, size, likely = words_size_likely
        self.emit(*words)
        self.depth += 1
        while likely and self.chance(0.6):
            if self.chance(0.3):
                self.plain_statement()
            self.plain_statement({self.pick(likely): 1})
            size -= 1
        self.statements(max(1, size))
        self.depth -= 1
        self.emit('end')

    def agen(self, name):
        self.emit('agen', name)
        self.depth += 1
        wrapped = self.chance(0.6)
        if wrapped:
            self.emit('try')
            self.depth += 1
        for _ in range(self.pick([1, 2, 3])):
            if self.chance(0.6):
                self.plain_statement()
            self.emit('yield', self.random.randint(1, 9))
        if wrapped:
            self.depth -= 1
            if self.chance(0.4):
                self.emit('except', 'Cancelled')
                self.depth += 1
                self.statements(2)
                self.depth -= 1
            self.emit('finally')
            self.depth += 1
            self.statements(2)
            self.depth -= 1
            self.emit('end')
        self.depth -= 1
        self.emit('end')

    def action(self, name):
        level, self.level = self.level, -1
        self.emit('action', name)
        self.depth += 1
        usable = {op: self.plain[op] for op in ACTION_OPERATIONS if op in self.plain}
        if self.net:
            usable.update((op, 2 * self.plain[op]) for op in generate_network.NETWORK
                          if op in self.plain)
        for _ in range(self.pick([1, 1, 2, 3])):
            self.plain_statement(usable)
        self.depth -= 1
        self.emit('end')
        self.level = level

    # Statements.

    def statements(self, size):
        size = self.random.randint(max(1, size // 2), size + 1)
        while size > 0:
            if self.depth < 5 and size > 2 and self.chance(0.38):
                inner = self.random.randint(1, max(1, size - 2))
                size -= inner + 1
                self.block_statement(self.weighted(self.blocks), inner)
            else:
                self.plain_statement()
                size -= 1

    def plain_statement(self, table=None):
        for _ in range(20):
            op = self.weighted(table or self.plain)
            words = STATEMENTS[op](self)
            if words:
                if words[0] in FALLIBLE and self.chance(0.8):
                    words[0] += '?'
                self.emit(*words)
                return
        self.emit('current') if table else self.emit('sleep', self.delay())

    def block_statement(self, op, size):
        BLOCK_STATEMENTS[op](self, size)


def generate(seed, eager=False, only=None, net=None):
    """The text of the scenario of one seed; `eager`: its tasks start eagerly; `only`: the
    families to draw from; `net`: it has a pair of sockets or pipe ends, with
    'small' only for small writes."""
    return Generator(seed, eager, only, net).scenario()


def seed_range(text):
    first, last = text.split(':')
    return range(int(first), int(last))


if __name__ == '__main__':
    for number in seed_range(sys.argv[1]):
        sys.stdout.write(generate(number))
