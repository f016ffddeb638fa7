"""How the generator writes each operation: a function that returns the words, or None if the
scenario has no object for it."""

import generate_network


def on(kind, op, *extra):
    """An operation on a declared object; extra words may be functions of the generator."""
    def make(g):
        names = g.objects(kind)
        if not names:
            return None
        return [op, g.pick(names), *(e(g) if callable(e) else e for e in extra)]

    return make


def on_held(op, *extra):
    """An operation on a condition, mostly one whose lock is held here."""
    make_any = on('cond', op, *extra)

    def make(g):
        held = [n for n in g.held if n.startswith('C')]
        if not held:
            return make_any(g) if g.chance(0.3) else None
        return [op, g.pick(held), *(e(g) for e in extra)]

    return make


def value(g):
    return g.random.randint(1, 9)


def text(g):
    return g.pick(['x', 'y', 'z'])


def sleep(g):
    words = ['sleep', g.delay()]
    return words + [value(g)] if g.chance(0.05) else words


def sleep0(g):
    return ['sleep', 0 if g.chance(0.95) else -1]


def about(op, *extra):
    """An operation on any task or future."""
    def make(g):
        name = g.any_future()
        return name and [op, name, *(e(g) for e in extra)]

    return make


def cancel(g):
    tasks = [n for n in g.bound if n.startswith('T')]
    name = g.pick(tasks) if tasks and g.chance(0.7) else g.any_future()
    if name is None:
        return None
    return ['cancel', name, text(g)] if g.chance(0.15) else ['cancel', name]


def await_(g):
    name = g.awaitable()
    return name and ['await', name]


def about_plain(op, extra):
    """set and fail: mostly on futures that no other statement completes."""
    def make(g):
        names = [n for n in g.bound if n.startswith('F')]
        return [op, g.pick(names), extra(g)] if names else None

    return make


def future(g):
    names = [n for n in g.bound if n.startswith('F')]
    name = g.pick(names) if names and g.chance(0.5) else g.fresh('F')
    g.bound[name] = 99
    return ['future', name]


def spawn(g):
    if g.level >= g.bodies:
        return None
    body = g.random.randint(max(1, g.level + 1), g.bodies)
    name = g.fresh('T')
    g.bound[name] = body
    return ['spawn', name, f'b{body}']


def call(g):
    return ['call', g.body_above()] if g.level < g.bodies else None


def gather(g):
    words = g.items()
    if not words and g.chance(0.8):
        return None
    name = g.fresh('G')
    made = ['gather', name, g.pick(['rx', '-']), *words]
    lowest = g.lowest(words)
    if g.level >= 0 and g.chance(0.75):
        g.emit(*made)
        made = ['await', name]
    g.bound[name] = lowest
    return made


def gather2(g):
    """Two futures of any kind, gathers too, but not results of this operation (D)."""
    words = [w for w in (g.awaitable(), g.awaitable()) if w is not None and w[0] != 'D']
    if len(words) < 2:
        return None
    name = g.fresh('D')
    g.emit('gather2', name, g.pick(['rx', '-']), *words)
    g.bound[name] = g.lowest(words)
    return ['await', name] if g.level >= 0 else ['state', name]


def shield(g):
    word = g.item()
    if word is None:
        return None
    name = g.fresh('D' if word[0] == 'D' else 'H' if word[0] != 'G' else 'G')
    made = ['shield', name, word]
    lowest = g.lowest([word])
    if g.level >= 0 and g.chance(0.7):
        g.emit(*made)
        made = ['await', name]
    g.bound[name] = lowest
    return made


def timeout_word(g):
    return '-' if g.chance(0.4) else g.delay()


def wait(g):
    words = g.items(coroutines=False)
    if not words:
        return None
    return ['wait', g.pick(['first', 'exception', 'all']), timeout_word(g), *words]


def waitfor(g):
    word = g.item()
    return word and ['waitfor', '-' if g.chance(0.1) else g.delay(), word]


# The statements inside `within` and `optask`, by family.
SINGLE = ['acquire', 'cacquire', 'cwait', 'cwaitfor', 'sacquire', 'bacquire', 'ewait', 'put', 'get',
          'join', 'bwait', *generate_network.WAITS]


def within(g):
    usable = [op for op in SINGLE if op in g.plain]
    words = STATEMENTS[g.pick([*usable, *usable, 'await', 'sleep'])](g)
    return words and ['within', '-' if g.chance(0.1) else g.delay(), *words]


def optask(g):
    usable = [op for op in SINGLE if op in g.plain]
    words = usable and STATEMENTS[g.pick(usable)](g)
    if not words:
        return None
    name = g.fresh('T')
    g.bound[name] = 99
    return ['optask', name, *words]


def ascompleted(g):
    words = g.items()
    return words and ['ascompleted', g.pick(['plain', 'async']), timeout_word(g), *words]


def action(g):
    return f'k{g.random.randint(1, g.actions)}'


def callback(op, letter=None, *extra):
    def make(g):
        if not g.actions:
            return None
        name = g.any_future() if letter is None else g.fresh(letter)
        if name is None:
            return None
        if letter is not None:
            g.handles.append(name)
        return [op, name, *(e(g) for e in extra), action(g)]

    return make


def hcancel(g):
    return ['hcancel', g.pick(g.handles)] if g.handles else None


def resched(g):
    names = g.scopes_of('O')
    return ['resched', g.pick(names), '-' if g.chance(0.15) else g.delay()] if names else None


def expired(g):
    names = g.scopes_of('O')
    return ['expired', g.pick(names)] if names else None


def gspawn(g):
    names = g.scopes_of('N')
    if not names or g.level >= g.bodies:
        return None
    body = g.random.randint(max(1, g.level + 1), g.bodies)
    name = g.fresh('T')
    g.bound[name] = body
    return ['gspawn', g.pick(names), name, f'b{body}']


STATEMENTS = {
    'sleep': sleep, 'sleep0': sleep0, 'cancel': cancel, 'await': await_, 'spawn': spawn,
    'call': call, 'state': about('state'), 'raise': lambda g: ['raise', text(g)],
    'raisecancel': lambda g: ['raisecancel'], 'cancelself': lambda g: ['cancelself'],
    'uncancel': about('uncancel'), 'uncancelself': lambda g: ['uncancelself'],
    'result': about('result'), 'exception': about('exception'),
    'current': lambda g: ['current'], 'alltasks': lambda g: ['alltasks'],
    'awaitself': lambda g: ['awaitself'],
    'acquire': on('lock', 'acquire'), 'release': on('lock', 'release'),
    'locked': on('lock', 'locked'),
    'cacquire': on('cond', 'acquire'), 'crelease': on('cond', 'release'),
    'cwait': on_held('cwait'), 'notifyall': on_held('notifyall'),
    'cwaitfor': on_held('cwaitfor', lambda g: g.pick(g.objects('event'))),
    'notify': on_held('notify', lambda g: g.pick([1, 1, 2])),
    'sacquire': on('sem', 'acquire'), 'srelease': on('sem', 'release'),
    'slocked': on('sem', 'locked'),
    'bacquire': on('bsem', 'acquire'), 'brelease': on('bsem', 'release'),
    'ewait': on('event', 'ewait'), 'eset': on('event', 'eset'), 'eclear': on('event', 'eclear'),
    'eisset': on('event', 'eisset'),
    'put': on('queue', 'put', value), 'get': on('queue', 'get'),
    'putnow': on('queue', 'putnow', value), 'getnow': on('queue', 'getnow'),
    'taskdone': on('queue', 'taskdone'), 'join': on('queue', 'join'),
    'shutdown': on('queue', 'shutdown', lambda g: g.pick([0, 1])),
    'qsize': on('queue', 'qsize'),
    'bwait': on('barrier', 'bwait'), 'breset': on('barrier', 'breset'),
    'babort': on('barrier', 'babort'), 'bstate': on('barrier', 'bstate'),
    'future': future, 'set': about_plain('set', value), 'fail': about_plain('fail', text),
    'gather': gather, 'gather2': gather2, 'wait': wait, 'waitfor': waitfor, 'shield': shield,
    'within': within, 'optask': optask, 'ascompleted': ascompleted, 'addcb': callback('addcb'), 'rmcb': callback('rmcb'),
    'soon': callback('soon', 'J'), 'later': callback('later', 'J', lambda g: g.delay()),
    'hcancel': hcancel, 'resched': resched, 'expired': expired, 'gspawn': gspawn,
    'busy': lambda g: ['busy', g.pick([1, 2, 3, 5])],
    'ctxset': lambda g: ['ctxset', value(g)], 'ctxget': lambda g: ['ctxget'],
    **generate_network.STATEMENTS,
}


def try_(g, size, kinds=('Cancelled', 'Cancelled', 'Cancelled', 'Timeout', 'Value', 'Exception')):
    g.emit('try')
    g.depth += 1
    g.statements(size)
    g.depth -= 1
    shape = g.random.random()
    if shape < 0.75:
        g.emit('except', g.pick(kinds))
        g.depth += 1
        g.statements(g.pick([1, 1, 2]))
        if g.chance(0.35):
            g.emit('reraise')
        g.depth -= 1
    if shape > 0.6:
        g.emit('finally')
        g.depth += 1
        g.statements(g.pick([1, 2]))
        g.depth -= 1
    g.emit('end')


def repeat(g, size):
    g.block('repeat', g.pick([2, 2, 3]), size, None)


def with_(kind):
    def make(g, size):
        names = g.objects(kind)
        if names:
            g.held.append(g.pick(names))
            extra = {'cond': ('cwait', 'cwait', 'notify', 'notifyall', 'cwaitfor')}.get(kind)
            g.block('with', g.held[-1], size, extra)
            g.held.pop()

    return make


def scope(op, letter, extra):
    def make(g, size):
        name = g.fresh(letter)
        g.scopes.append(name)
        inside = ('gspawn', 'gspawn', 'raise') if op == 'group' else None
        if op == 'timeout' and g.chance(0.3):
            inside = ('resched', 'expired')
        g.block(op, name, *extra(g), size, inside)

    return make


def afor(g, size):
    g.block('afor', f'a{g.random.randint(1, g.agens)}', g.pick(['-', '-', 1, 2]), min(size, 3),
            None)


BLOCK_STATEMENTS = {
    'try': try_, 'repeat': repeat, 'with_lock': with_('lock'), 'with_cond': with_('cond'),
    'with_sem': with_('sem'), 'with_bsem': with_('bsem'), 'with_barrier': with_('barrier'),
    'timeout': scope('timeout', 'O', lambda g: ['-' if g.chance(0.1) else g.delay()]),
    'group': scope('group', 'N', lambda g: []), 'afor': afor,
}
