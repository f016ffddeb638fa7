"""Statements with statements inside, each a coroutine function of (interpreter, frame, statement).

They return what `Interpreter.run` returns: None, (value,) or RERAISE.
"""

import asyncio
import sys

from operations import duration
from show import show_error

RERAISE = object()


class TaskGroup(asyncio.TaskGroup):
    """The group of 3.13.2 and later: callbacks of a task that ends in create_task() run, too."""

    _creating = 0

    def create_task(self, coro, **options):
        self._creating += 1
        try:
            return super().create_task(coro, **options)
        finally:
            self._creating -= 1

    def _on_task_done(self, task):
        if self._creating > 0 and task not in self._tasks:
            self._tasks.add(task)
            task.add_done_callback(self._on_task_done)
        else:
            super()._on_task_done(task)


if sys.version_info >= (3, 13, 2):
    TaskGroup = asyncio.TaskGroup

KINDS = {
    'Cancelled': (asyncio.CancelledError,),
    'Timeout': (TimeoutError,),
    'Value': (ValueError,),
    'Exception': (Exception,),
}


def try_parts(statement):
    """(statements, except section or None, exceptions that it catches, finally section or None)"""
    handler = final = None
    kinds = ()
    for section in statement.sections[1:]:
        if section[1][0] == 'except':
            handler, kinds = section, KINDS[section[1][1]]
        else:
            final = section
    return statement.sections[0][2], handler, kinds, final


async def try_(run, frame, statement):
    body, handler, kinds, final = try_parts(statement)
    try:
        try:
            return await run.run(body, frame)
        except kinds as error:
            run.log(frame.label, handler[0], f'except {show_error(error)}')
            flow = await run.run(handler[2], frame)
            if flow is RERAISE:
                raise
            return flow
    finally:
        if final is not None:
            run.log(frame.label, final[0], 'finally')
            await run.run(final[2], frame)


def leaving(function):
    """Logs how the block is left; `function` may put further words for that line in details[0]."""
    async def operation(run, frame, statement):
        details = ['']
        try:
            flow = await function(run, frame, statement, details)
        except BaseException as error:
            run.log(frame.label, statement.line, f'leave{details[0]} ! {show_error(error)}')
            if run.coverage is not None:
                run.coverage.outcome(statement.op, type(error).__name__)
            raise
        run.log(frame.label, statement.line, f'leave{details[0]}')
        if run.coverage is not None:
            run.coverage.outcome(statement.op, 'ok')
        return flow

    return operation


@leaving
async def timeout(run, frame, statement, details):
    name, delay = statement.args
    scope = run.scopes[name] = asyncio.timeout(duration(delay))
    try:
        async with scope:
            return await run.run(statement.sections[0][2], frame)
    finally:
        details[0] = f' {scope.expired()} {asyncio.current_task().cancelling()}'
        del scope  # an exception keeps this frame, and the scope would keep the task


@leaving
async def group(run, frame, statement, details):
    scope = run.scopes[statement.args[0]] = TaskGroup()
    try:
        async with scope:
            return await run.run(statement.sections[0][2], frame)
    finally:
        details[0] = f' {asyncio.current_task().cancelling()}'
        # Before 3.13.3 a group that has ended keeps its task, which delays the report of its error.
        scope._parent_task = None
        del scope


@leaving
async def with_(run, frame, statement, details):
    target = run.objects.get(statement.args[0])
    if target is None:
        return await run.run(statement.sections[0][2], frame)
    async with target as entered:
        run.log(frame.label, statement.line, f'enter {run.value(entered)}')
        return await run.run(statement.sections[0][2], frame)


async def repeat(run, frame, statement):
    for _ in range(int(statement.args[0])):
        flow = await run.run(statement.sections[0][2], frame)
        if flow is not None:
            return flow
    return None


@leaving
async def afor(run, frame, statement, details):
    """`afor GENERATOR LIMIT`: leaves after LIMIT items (`-`: none); always closes it."""
    name, limit = statement.args
    generator = run.generator(name)
    if generator is None:
        return None
    count, flow = 0, None
    try:
        try:
            async for value in generator:
                run.log(frame.label, statement.line, f'item {value}')
                flow = await run.run(statement.sections[0][2], frame)
                count += 1
                if flow is not None or str(count) == limit:
                    break
        finally:
            try:
                await generator.aclose()
            finally:
                # An exception keeps this frame and so the generator. The loop then takes longer to
                # end, for each generator that it has run and that still exists, exhausted or not.
                del generator
    except RuntimeError as error:
        # The library has one kind of generator, which refuses with the error of the plain ones.
        if str(error).endswith('asynchronous generator is already running'):
            raise ValueError('generator already executing') from None
        raise
    return flow


BLOCKS = {
    'try': try_, 'timeout': timeout, 'group': group, 'with': with_, 'repeat': repeat,
    'afor': afor,
}
