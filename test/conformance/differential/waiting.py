"""Statements that may suspend, each a coroutine function of (interpreter, frame, statement)."""

import asyncio

import virtual_loop
from language import Statement
from operations import UNSET, duration
from show import show_error

RETURN_WHEN = {
    'first': asyncio.FIRST_COMPLETED,
    'exception': asyncio.FIRST_EXCEPTION,
    'all': asyncio.ALL_COMPLETED,
}


async def sleep(run, frame, statement):
    args = statement.args
    return await asyncio.sleep(duration(args[0]), int(args[1]) if len(args) > 1 else None)


async def await_(run, frame, statement):
    items = run.items(statement.args)
    return await items[0] if items else UNSET


async def awaitself(run, frame, statement):
    task = asyncio.current_task()
    task._asyncio_future_blocking = False  # the flag's fault: see Interpreter.items()
    return await task


async def call(run, frame, statement):
    coroutine = run.coroutine(statement.args[0])
    return 'limit' if coroutine is None else await coroutine


async def wait(run, frame, statement):
    args = statement.args
    futures = run.items(args[2:])
    done, pending = await asyncio.wait(futures, timeout=duration(args[1]),
                                       return_when=RETURN_WHEN[args[0]])
    return [list(done), list(pending)]


async def waitfor(run, frame, statement):
    items = run.items(statement.args[1:2])
    return await asyncio.wait_for(items[0], duration(statement.args[0])) if items else UNSET


async def ascompleted(run, frame, statement):
    """`plain` awaits the items of the iterator; `async` iterates asynchronously."""
    style, timeout, *words = statement.args
    futures = virtual_loop.as_completed(run.items(words), timeout=duration(timeout))

    def note(text):
        run.log(frame.label, statement.line, text)

    if style == 'plain':
        for awaitable in futures:
            try:
                note(f'next {run.value(await awaitable)}')
            except Exception as error:
                error.__traceback__ = None  # its frame would keep the futures of the iterator
                note(f'next {show_error(error)}')
    else:
        try:
            async for future in futures:
                note(f'next {run.value(future)} {future.cancelled()}')
        finally:
            future = None  # C++ drops the variable before the iterator and its futures


def one(run, frame, statement):
    """The statement in the words after the first, as a coroutine."""
    _, op, *args = statement.args
    return WAITING[op](run, frame, Statement(statement.line, op, args))


async def within(run, frame, statement):
    return await asyncio.wait_for(one(run, frame, statement), duration(statement.args[0]))


async def optask(run, frame, statement):
    name = statement.args[0]
    task = run.loop.create_task(one(run, frame, statement), name=run.label_for(name))
    return run.bind(name, task)


async def acquire(run, frame, statement):
    target = run.objects.get(statement.args[0])
    return UNSET if target is None else await target.acquire()


async def cwait(run, frame, statement):
    target = run.objects.get(statement.args[0])
    return UNSET if target is None else await target.wait()


async def cwaitfor(run, frame, statement):
    target = run.objects.get(statement.args[0])
    event = run.objects.get(statement.args[1])
    return UNSET if target is None or event is None else await target.wait_for(event.is_set)


async def bwait(run, frame, statement):
    target = run.objects.get(statement.args[0])
    return UNSET if target is None else await target.wait()


async def breset(run, frame, statement):
    target = run.objects.get(statement.args[0])
    return UNSET if target is None else await target.reset()


async def babort(run, frame, statement):
    target = run.objects.get(statement.args[0])
    return UNSET if target is None else await target.abort()


async def put(run, frame, statement):
    target = run.objects.get(statement.args[0])
    return UNSET if target is None else await target.put(int(statement.args[1]))


async def get(run, frame, statement):
    target = run.objects.get(statement.args[0])
    return UNSET if target is None else await target.get()


async def join(run, frame, statement):
    target = run.objects.get(statement.args[0])
    return UNSET if target is None else await target.join()


WAITING = {
    'sleep': sleep, 'await': await_, 'awaitself': awaitself, 'call': call, 'wait': wait,
    'waitfor': waitfor, 'within': within, 'optask': optask, 'ascompleted': ascompleted,
    'acquire': acquire, 'cwait': cwait,
    'cwaitfor': cwaitfor, 'ewait': cwait, 'bwait': bwait, 'breset': breset, 'babort': babort,
    'put': put, 'get': get, 'join': join,
}
