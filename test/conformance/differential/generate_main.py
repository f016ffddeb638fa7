"""How the generator writes `main`: it starts tasks, then acts, then lets the waiting tasks go on.

Half of the mains are drivers: between short waits they do several things in one step (release,
set, notify, cancel...), so that wake-ups and cancellations meet.
"""

import generate_network

# The statements of a driver's step, by family.
BURSTS = {
    'core': {'cancel': 6, 'state': 0.5, 'spawn': 0.5, 'uncancel': 0.3},
    'lock': {'release': 8}, 'sem': {'srelease': 8, 'slocked': 1}, 'bsem': {'brelease': 8},
    'event': {'eset': 7, 'eclear': 3},
    'queue': {'putnow': 8, 'getnow': 4, 'taskdone': 3, 'shutdown': 1, 'qsize': 0.5},
    'future': {'set': 8, 'fail': 4, 'cancel': 2}, 'callback': {'addcb': 2, 'soon': 3, 'hcancel': 2},
    'timeout': {'resched': 4}, 'group': {'gspawn': 5}, 'context': {'ctxset': 1},
    'gather': {'gather': 2}, 'shield': {'shield': 2}, 'busy': {'busy': 2},
    'barrier': {'bstate': 1}, 'cond': {}, 'wait': {}, 'waitfor': {}, 'agen': {}, 'ascompleted': {},
}


def write_main(g, share):
    g.level = 0
    g.emit('body', 'main')
    g.depth += 1
    if g.chance(0.5):
        begin(g)
        driver(g, share)
    else:
        begin(g)
        g.statements(share)
    if g.chance(0.7):
        settle(g)
    if g.chance(0.6):
        for name, _ in g.first:
            if g.chance(0.7):
                g.emit('await?' if g.chance(0.7) else 'await', name)
    g.depth -= 1
    g.emit('end')


def begin(g):
    """Takes the locks that other tasks will wait for, and starts these tasks."""
    if g.net:
        if g.chance(0.3):
            g.plain_statement({'psend': 1})
        generate_network.begin(g)
    for kind, op in (('lock', 'acquire'), ('sem', 'sacquire'), ('bsem', 'bacquire')):
        if g.objects(kind) and g.chance(0.5):
            g.plain_statement({op: 1})
    for name, level in g.first:
        g.emit('spawn', name, f'b{level}')
        if g.chance(0.15):
            g.plain_statement()


def driver(g, share):
    table = {}
    for family in ['core', *sorted(g.families)]:
        for op, weight in BURSTS[family].items():
            table[op] = table.get(op, 0) + weight
    if g.net:
        table.update((op, g.plain[op]) for op in generate_network.NETWORK if op in g.plain)
    while share > 0:
        g.emit('sleep', g.pick([0, 0, 0, 0, 1, 1, 2]))
        share -= 1
        if g.objects('cond') and g.chance(0.6):
            share -= notify(g, table)
        if g.chance(0.4):
            share -= duel(g, table)
            continue
        for _ in range(g.pick([1, 1, 2, 2, 3])):
            g.plain_statement(table)
            share -= 1


def duel(g, table):
    """Wakes one task and cancels a task in one step, in either order."""
    wakes = {op: weight for op, weight in table.items() if op not in ('cancel', 'uncancel')}
    order = [wakes, {'cancel': 1}]
    g.random.shuffle(order)
    for choice in order:
        g.plain_statement(choice)
        if g.chance(0.2):
            g.plain_statement(wakes)
    return 2


def notify(g, table):
    name = g.pick(g.objects('cond'))
    g.held.append(name)
    g.emit('with', name)
    g.depth += 1
    size = g.pick([1, 1, 2, 3])
    for _ in range(size):
        g.plain_statement({'notify': 4, 'notifyall': 1, 'cancel': 2, **table})
    if g.chance(0.2):
        g.emit('sleep', 0)
    g.depth -= 1
    g.emit('end')
    g.held.pop()
    return size + 1


def settle(g):
    """Gives the waiting tasks a chance to go on."""
    g.emit('sleep', g.pick([0, 1, 3, 6]))
    for name in g.bound:
        if name.startswith('F') and g.chance(0.8):
            g.emit('set?', name, 0)
    for _ in range(g.pick([0, 1, 2, 3]) if g.net else 0):
        g.plain_statement(generate_network.SETTLING)
    for kind, op in (('event', 'eset'), ('queue', 'putnow'), ('queue', 'getnow'),
                     ('lock', 'release'), ('sem', 'srelease'), ('bsem', 'brelease')):
        for _ in g.objects(kind):
            if g.chance(0.7):
                g.plain_statement({op: 1})
