"""How the generator writes statements about the pair P1 (network.py)."""

WRITES = [1, 3, 10, 100, 1000, 3000, 6000, 20000, 70000]
SENDS = [1, 3, 10, 10, 30, 100, 500, 3000, 9000]
RECEIVES = [1, 10, 100, 3000, 9000, 100000]
READS = [0, 1, 3, 10, 30, 1000]

NETWORK = {'twrite': 8, 'twritelines': 1.5, 'teof': 1, 'tclose': 1.5, 'tabort': 0.6, 'tpause': 2,
           'tresume': 2.5, 'treading': 0.5, 'tclosing': 0.7, 'tlimits': 1, 'tmarks': 0.3,
           'tsize': 1.2, 'tcaneof': 0.2, 'tproto': 0.6, 'psend': 7, 'precv': 5, 'pshut': 0.8,
           'pclose': 0.8}
STREAMS = {'rread': 4, 'rexactly': 3, 'rline': 4, 'runtil': 3, 'wdrain': 5, 'wclosed': 1.5,
           'rateof': 0.7, 'optask': 2}
SOCKETS = {'lrecv': 6, 'lrecvfrom': 2, 'lsendall': 6, 'psend': 7, 'precv': 6, 'pshut': 0.7,
           'pclose': 0.7, 'optask': 2}
WAITS = ['rread', 'rexactly', 'rline', 'runtil', 'wdrain', 'wclosed', 'lrecv', 'lrecvfrom',
         'lsendall']
FALLIBLE = {*WAITS, 'twrite', 'twritelines', 'teof', 'tlimits', 'tproto'}


def size(g, choices):
    """A size; with `net` = 'small' only sizes for which the kernel's buffers have room."""
    return g.pick([n for n in choices if g.net != 'small' or n <= 100])


def sizes(op, choices):
    return lambda g: [op, 'P1', size(g, choices)]


def plain(op):
    return lambda g: [op, 'P1']


def limits(g):
    high = g.pick(['-', 0, 1, 100, 5000, 20000])
    low = g.pick(['-', '-', 0, 1, 50, 4000])
    return ['tlimits', 'P1', high, low]


STATEMENTS = {
    'twrite': sizes('twrite', WRITES), 'psend': sizes('psend', SENDS),
    'precv': sizes('precv', RECEIVES),
    'twritelines': lambda g: ['twritelines', 'P1', *(size(g, WRITES) for _ in range(g.pick([0, 1, 2, 3])))],
    **{op: plain(op) for op in ('teof', 'tclose', 'tabort', 'tpause', 'tresume', 'treading',
                                'tclosing', 'tmarks', 'tsize', 'tcaneof', 'pshut', 'pclose',
                                'rateof', 'rline', 'wdrain', 'wclosed')},
    'tlimits': limits,
    'tproto': lambda g: ['tproto', 'P1', g.pick(g.protocols)],
    'rread': sizes('rread', [-1, -1, *READS]), 'rexactly': sizes('rexactly', READS),
    'runtil': lambda g: ['runtil', 'P1', g.pick([';', 'e', 'tt', 'uva'])],
    'lrecv': sizes('lrecv', RECEIVES), 'lrecvfrom': sizes('lrecvfrom', RECEIVES),
    'lsendall': sizes('lsendall', WRITES),
}


def declare(g):
    """Draws how the near end is used, and declares the pair and its protocols."""
    kind = g.pick(['stream'] * 6 + ['dgram', 'rpipe', 'wpipe'])
    g.near = 'protocol' if kind.endswith('pipe') else g.pick(
        ['protocol', 'protocol', 'streams', 'streams', 'socket'])
    if kind == 'dgram' and g.near == 'streams':
        g.near = 'protocol'
    g.emit('pair', 'P1', kind)
    g.protocols = ['p1', 'p2']
    for name in g.protocols:
        how = g.pick(['keep', 'close', 'close', f'buffer{g.pick([1, 7, 100])}'])
        events = [event for event in ('made', 'data', 'eof', 'lost', 'pause', 'resume')
                  if g.actions and g.chance(0.4)]
        g.emit('proto', name, how, *(f'{event}:k{g.random.randint(1, g.actions)}'
                                     for event in events))
    table = {'protocol': NETWORK, 'streams': {**NETWORK, **STREAMS}, 'socket': SOCKETS}[g.near]
    for op, weight in table.items():
        g.plain[op] = g.plain.get(op, 0) + weight * 1.5


def begin(g):
    """The statement that makes the connection."""
    if g.near == 'protocol':
        g.emit('connect', 'P1', 'p1', *(['accepted'] if g.chance(0.3) else []))
    elif g.near == 'streams':
        g.emit('open', 'P1', g.pick([1, 5, 20, 1000]))


# Statements that end a wait for bytes or room from the far end.
SETTLING = {'precv': 4, 'psend': 4, 'pshut': 1, 'pclose': 2, 'tclose': 2, 'tabort': 1}
