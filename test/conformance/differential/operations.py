"""Statements that never suspend, each a function of (interpreter, words after the operation)."""

import asyncio

from virtual_loop import MILLISECOND

UNSET = 'unset'


def duration(word):
    """Converts milliseconds of a scenario to units of the loop's clock; `-` gives None."""
    return None if word == '-' else int(word) * MILLISECOND


def message(args, position):
    return args[position] if len(args) > position else None


# Declarations.

def make_lock(run, args):
    run.objects[args[0]] = asyncio.Lock()


def make_cond(run, args):
    lock = run.objects.get(args[1]) if len(args) > 1 else None
    run.objects[args[0]] = asyncio.Condition(lock)


def make_sem(run, args):
    run.objects[args[0]] = asyncio.Semaphore(int(args[1]))


def make_bsem(run, args):
    run.objects[args[0]] = asyncio.BoundedSemaphore(int(args[1]))


def make_event(run, args):
    run.objects[args[0]] = asyncio.Event()


def make_queue(run, args):
    kind = {'fifo': asyncio.Queue, 'lifo': asyncio.LifoQueue, 'prio': asyncio.PriorityQueue}
    run.objects[args[0]] = kind[args[1]](int(args[2]))


def make_barrier(run, args):
    run.objects[args[0]] = asyncio.Barrier(int(args[1]))


# Tasks and futures.

def spawn(run, args):
    coroutine = run.coroutine(args[1])
    if coroutine is None:
        return 'limit'
    task = run.loop.create_task(coroutine, name=run.label_for(args[0]))
    return run.bind(args[0], task)


def gspawn(run, args):
    group = run.scopes.get(args[0])
    if not isinstance(group, asyncio.TaskGroup):
        return UNSET
    coroutine = run.coroutine(args[2])
    if coroutine is None:
        return 'limit'
    return run.bind(args[1], group.create_task(coroutine, name=run.label_for(args[1])))


def future(run, args):
    return run.bind(args[0], run.loop.create_future())


def gather(run, args):
    with_exceptions = args[1] == 'rx'
    items = run.items(args[2:])
    return run.bind(args[0], asyncio.gather(*items, return_exceptions=with_exceptions))


def gather2(run, args):
    return gather(run, args) if all(word in run.futures for word in args[2:4]) else UNSET


def shield(run, args):
    items = run.items(args[1:2])
    return run.bind(args[0], asyncio.shield(items[0])) if items else UNSET


def on_future(function):
    """A statement about the future bound to its first word."""
    def operation(run, args):
        target = run.futures.get(args[0])
        return UNSET if target is None else function(run, target, args)

    return operation


@on_future
def cancel(run, target, args):
    return target.cancel(message(args, 1))


@on_future
def uncancel(run, target, args):
    return target.uncancel() if isinstance(target, asyncio.Task) else UNSET


@on_future
def state(run, target, args):
    return run.state(target)


@on_future
def result(run, target, args):
    return target.result()


@on_future
def exception(run, target, args):
    return target.exception()


@on_future
def set_result(run, target, args):
    return target.set_result(int(args[1]))


@on_future
def fail(run, target, args):
    return target.set_exception(ValueError(args[1]))


@on_future
def addcb(run, target, args):
    callback = run.scheduled_action(args[1])
    return 'limit' if callback is None else target.add_done_callback(callback)


@on_future
def rmcb(run, target, args):
    callback = run.action(args[1])
    return UNSET if callback is None else target.remove_done_callback(callback)


def cancelself(run, args):
    task = asyncio.current_task()
    return UNSET if task is None else task.cancel(message(args, 0))


def uncancelself(run, args):
    task = asyncio.current_task()
    return UNSET if task is None else task.uncancel()


def current(run, args):
    task = asyncio.current_task()
    return 'none' if task is None else run.labels.get(id(task), '*')


def alltasks(run, args):
    return len(run.loop.unfinished_tasks())


# Callbacks and scopes.

def soon(run, args):
    callback = run.scheduled_action(args[1])
    if callback is None:
        return 'limit'
    run.handles[args[0]] = run.loop.call_soon(callback)


def later(run, args):
    callback = run.scheduled_action(args[2])
    if callback is None:
        return 'limit'
    run.handles[args[0]] = run.loop.call_later(duration(args[1]), callback)


def hcancel(run, args):
    handle = run.handles.get(args[0])
    return UNSET if handle is None else handle.cancel()


def resched(run, args):
    scope = run.scopes.get(args[0])
    if not isinstance(scope, asyncio.Timeout):
        return UNSET
    delay = duration(args[1])
    scope.reschedule(None if delay is None else run.loop.time() + delay)


def expired(run, args):
    scope = run.scopes.get(args[0])
    return scope.expired() if isinstance(scope, asyncio.Timeout) else UNSET


def busy(run, args):
    run.loop.advance(1000 * int(args[0]))


def raise_value(run, args):
    raise ValueError(args[0])


def raise_cancelled(run, args):
    raise asyncio.CancelledError(*args)


def ctxset(run, args):
    run.variable.set(int(args[0]))


def ctxget(run, args):
    return run.variable.get()


# Synchronization and queues.

def on_object(function):
    """A statement about the object declared with its first word."""
    def operation(run, args):
        target = run.objects.get(args[0])
        return UNSET if target is None else function(target, args)

    return operation


IMMEDIATE = {
    'lock': make_lock, 'cond': make_cond, 'sem': make_sem, 'bsem': make_bsem,
    'event': make_event, 'queue': make_queue, 'barrier': make_barrier,
    'spawn': spawn, 'gspawn': gspawn, 'future': future, 'gather': gather, 'gather2': gather2, 'shield': shield,
    'cancel': cancel, 'uncancel': uncancel, 'cancelself': cancelself,
    'uncancelself': uncancelself, 'state': state, 'result': result, 'exception': exception,
    'set': set_result, 'fail': fail, 'addcb': addcb, 'rmcb': rmcb, 'current': current,
    'alltasks': alltasks, 'soon': soon, 'later': later, 'hcancel': hcancel,
    'resched': resched, 'expired': expired, 'busy': busy, 'raise': raise_value,
    'raisecancel': raise_cancelled, 'ctxset': ctxset, 'ctxget': ctxget,
    'release': on_object(lambda o, args: o.release()),
    'locked': on_object(lambda o, args: o.locked()),
    'notify': on_object(lambda o, args: o.notify(int(args[1]))),
    'notifyall': on_object(lambda o, args: o.notify_all()),
    'eset': on_object(lambda o, args: o.set()),
    'eclear': on_object(lambda o, args: o.clear()),
    'eisset': on_object(lambda o, args: o.is_set()),
    'putnow': on_object(lambda o, args: o.put_nowait(int(args[1]))),
    'getnow': on_object(lambda o, args: o.get_nowait()),
    'taskdone': on_object(lambda o, args: o.task_done()),
    'shutdown': on_object(lambda o, args: o.shutdown(args[1] == '1')),
    'qsize': on_object(lambda o, args: [o.qsize(), o.empty(), o.full()]),
    'bstate': on_object(lambda o, args: [o.n_waiting, o.broken]),
}


def immediate(run, statement):
    """Runs the statement; its result goes into the trace."""
    return IMMEDIATE[statement.op](run, statement.args)
