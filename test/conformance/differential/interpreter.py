"""Runs one scenario on CPython's asyncio and returns its trace. README.md describes the trace."""

import asyncio
import contextvars
import gc

import network
import virtual_loop
from blocks import BLOCKS, RERAISE, try_parts
from operations import IMMEDIATE, immediate
from show import show, show_error
from virtual_loop import IoLoop, VirtualLoop
from waiting import WAITING

IMMEDIATE.update(network.IMMEDIATE)
WAITING.update(network.WAITING)

HOUR = 3_600_000_000  # microseconds
MAX_INSTANCES = 40
MAX_SCHEDULES = 25
MAX_ROUNDS = 12


class Frame:
    """One running body, generator or action."""

    __slots__ = ('label', 'previous')

    def __init__(self, label):
        self.label = label
        self.previous = None


def forget_frames(error):
    """Drops the tracebacks of an error: their frames keep tasks alive, which delays reports."""
    seen = set()  # an exception that is raised repeatedly may be its own cause
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class Interpreter:
    def __init__(self, scenario, coverage=None):
        self.scenario = scenario
        self.coverage = coverage
        self.trace = []
        io = any(declaration.op == 'pair' for declaration in scenario.objects)
        self.loop = IoLoop() if io else VirtualLoop()
        self.objects = {}  # locks, queues...: by name
        self.pairs = {}
        self.protocols = {}
        self.futures = {}  # tasks, futures, gathers: the latest one bound to each name
        self.made = []  # (label, future) of all that were ever bound, in the order of creation
        self.labels = {}  # id(future) -> label
        self.handles = {}
        self.scopes = {}  # timeouts and groups
        self.counts = {}
        self.instances = 0
        self.schedules = 0
        self.rounds = 0
        self.watchdog = None
        self.over = False  # true once events are no longer logged
        self.variable = contextvars.ContextVar('variable', default=0)
        self.callbacks = {}

    # The trace.

    def log(self, who, line, text):
        self.trace.append(f'{self.loop.microseconds()} {who} {line} {text}')

    def value(self, value):
        return show(value, self.labels)

    # Names and instances.

    def count(self, name):
        number = self.counts[name] = self.counts.get(name, 0) + 1
        return number

    def bind(self, name, future):
        number = self.count('=' + name)
        label = name if number == 1 else f'{name}.{number}'
        self.futures[name] = future
        self.made.append((label, future))
        self.labels[id(future)] = label
        return label

    def label_for(self, name):
        """The label that the next bind() of `name` will give."""
        number = self.counts.get('=' + name, 0) + 1
        return name if number == 1 else f'{name}.{number}'

    def coroutine(self, name):
        """A new coroutine object of body `name`; None if the scenario has made too many."""
        if self.instances >= MAX_INSTANCES or name not in self.scenario.bodies:
            return None
        self.instances += 1
        return self.run_body(name, f'{name}#{self.count(name)}')

    def items(self, words):
        """The futures bound to names, and new coroutine objects for words like `b1()`."""
        result = []
        for word in words:
            if word.endswith('()'):
                coroutine = self.coroutine(word[:-2])
                if coroutine is not None:
                    result.append(coroutine)
            elif word in self.futures:
                future = self.futures[word]
                # A task in C that has awaited itself leaves this flag set; every task that awaits
                # it would then fail. A task written in Python clears the flag.
                future._asyncio_future_blocking = False
                result.append(future)
        return result

    # Bodies.

    async def run_body(self, name, label):
        self.log(label, 0, f'start {self.labels.get(id(asyncio.current_task()), "*")}')
        try:
            flow = await self.run(self.scenario.bodies[name], Frame(label))
        except BaseException as error:
            self.log(label, 0, f'raise {show_error(error)}')
            raise
        value = flow[0] if isinstance(flow, tuple) else None
        self.log(label, 0, f'return {self.value(value)}')
        return value

    async def run(self, statements, frame):
        """Runs statements; None, or (value,) after `return`, or RERAISE after `reraise`."""
        for statement in statements:
            op = statement.op
            if self.coverage is not None:
                self.coverage.enter(frame, op)
            block = BLOCKS.get(op)
            if block is not None:
                flow = await block(self, frame, statement)
                if flow is not None:
                    return flow
                continue
            if op == 'return':
                return (int(statement.args[0]) if statement.args else None,)
            if op == 'reraise':
                return RERAISE
            waiting = WAITING.get(op)
            if waiting is None:
                self.step(frame, statement)
                continue
            try:
                if self.coverage is None:
                    result = await waiting(self, frame, statement)
                else:
                    with self.coverage.waiting(op):
                        result = await waiting(self, frame, statement)
            except BaseException as error:
                if self.failed(frame, statement, error):
                    raise
            else:
                self.passed(frame, statement, result)
        return None

    def step(self, frame, statement):
        """Runs a statement that cannot suspend."""
        try:
            result = immediate(self, statement)
        except BaseException as error:
            if self.failed(frame, statement, error):
                raise
        else:
            self.passed(frame, statement, result)

    def passed(self, frame, statement, result):
        self.log(frame.label, statement.line, f'= {self.value(result)}')
        if self.coverage is not None:
            self.coverage.outcome(statement.op, 'ok')

    def failed(self, frame, statement, error):
        """Logs an error; true if the next statement runs."""
        forget_frames(error)
        self.log(frame.label, statement.line, f'! {show_error(error)}')
        if self.coverage is not None:
            self.coverage.outcome(statement.op, type(error).__name__)
        return not (statement.safe and isinstance(error, Exception))

    def generator(self, name):
        """A new asynchronous generator object; None if the scenario has made too many."""
        if self.instances >= MAX_INSTANCES or name not in self.scenario.agens:
            return None
        self.instances += 1
        return self.generate(name, Frame(f'{name}#{self.count(name)}'))

    async def generate(self, name, frame):
        """The asynchronous generator `name`; `yield` may stand outside of blocks or in a `try`."""
        for statement in self.scenario.agens[name]:
            if statement.op == 'yield':
                yield self.produced(frame, statement)
            elif statement.op == 'try':
                body, handler, kinds, final = try_parts(statement)
                try:
                    for inner in body:
                        if inner.op == 'yield':
                            yield self.produced(frame, inner)
                        elif await self.run([inner], frame) is not None:
                            return
                except kinds as error:
                    self.log(frame.label, handler[0], f'except {show_error(error)}')
                    flow = await self.run(handler[2], frame)
                    if flow is RERAISE:
                        raise
                    if flow is not None:
                        return
                finally:
                    if final is not None:
                        self.log(frame.label, final[0], 'finally')
                        await self.run(final[2], frame)
            elif await self.run([statement], frame) is not None:
                return
        self.log(frame.label, 0, 'exhausted')

    def produced(self, frame, statement):
        if self.coverage is not None:
            self.coverage.enter(frame, 'yield')
            self.coverage.outcome('yield', 'ok')
        self.log(frame.label, statement.line, f'yield {statement.args[0]}')
        return int(statement.args[0])

    # Actions: the bodies of plain callbacks.

    def action(self, name):
        """The one callback that runs action `name`; None if there is no such action."""
        if name not in self.scenario.actions:
            return None
        if name in self.callbacks:
            return self.callbacks[name]

        def callback(*args):
            label = f'{name}#{self.count(name)}'
            future = f' {self.labels.get(id(args[0]), "*")}' if args else ''
            current = asyncio.current_task()
            self.log(label, 0, f'called{future}{"" if current is None else " in a task"}')
            frame = Frame(label)
            for statement in self.scenario.actions[name]:
                if self.coverage is not None:
                    self.coverage.enter(frame, statement.op)
                self.step(frame, statement)

        self.callbacks[name] = callback
        return callback

    def scheduled_action(self, name):
        """action(name), to be scheduled once more; None if too many were scheduled."""
        if self.schedules >= MAX_SCHEDULES:
            return None
        self.schedules += 1
        return self.action(name)

    # Beginning and end.

    def on_error(self, loop, context):
        message = context['message']
        if message.startswith('Exception in callback'):
            message = 'Exception in callback'
        self.report('handler', message, context.get('exception'))

    def report(self, kind, message, error):
        self.log('-', 0, f'{kind} {message}: {show_error(error)}')

    def watch(self):
        """Runs when nothing else is scheduled: all tasks are then done or wait for ever."""
        waiting = self.loop.unfinished_tasks()
        if not waiting and self.scenario.mode == 'idle':
            self.loop.stop()
            return
        self.rounds += 1
        names = [self.labels.get(id(t), '*') for t in waiting]
        self.log('-', 0, ' '.join(['DEADLOCK', *names]))
        if self.rounds > MAX_ROUNDS:
            self.log('-', 0, 'GIVEUP')
            self.loop.stop()
            return
        self.arm()
        for task in waiting:
            task.cancel()
        if self.rounds > 1:  # some tasks wait for a lock before they can end
            for declaration in self.scenario.objects:
                lock = self.objects.get(declaration.args[0])
                if declaration.op in ('lock', 'cond') and lock.locked():
                    lock.release()

    def arm(self):
        delay = HOUR * virtual_loop.UNIT
        self.watchdog = self.loop.call_later(delay, self.watch)

    def run_idle(self):
        """`mode idle`: main is a task like others; the loop runs until nothing is left."""
        def begin():
            self.bind('main', self.loop.create_task(self.coroutine('main'), name='main'))

        self.loop.call_soon(begin)
        self.arm()
        self.loop.run_forever()

    def run_runner(self):
        """`mode run`: asyncio.run(main()), with its clean-up."""
        async def main():
            self.bind('main', asyncio.current_task())
            return await self.coroutine('main')

        self.arm()
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                result = runner.run(main())
                self.log('-', 0, f'main returned {self.value(result)}')
        except BaseException as error:
            self.log('-', 0, f'run raised {show_error(error)}')
        else:
            self.log('-', 0, 'run returned')

    def execute(self):
        """The whole scenario; its trace as a list of lines."""
        loop = self.loop
        loop.set_exception_handler(self.on_error)
        asyncio.set_event_loop(loop)
        if self.scenario.eager:
            loop.set_task_factory(asyncio.create_eager_task_factory(virtual_loop.Task))
        for declaration in self.scenario.objects:
            immediate(self, declaration)
        if self.scenario.mode == 'run':
            self.run_runner()
        else:
            self.run_idle()
        for label, future in self.made:
            self.log('-', 0, f'end {label} {self.state(future)}')
        for task in loop.unfinished_tasks():
            if id(task) not in self.labels:
                self.log('-', 0, f'end * {self.state(task)}')
        for name in sorted(self.scopes):
            del self.scopes[name]
        last = {id(future): label for label, future in self.made}
        for label, future in self.made:  # the reports of last references
            if future._log_traceback and last[id(future)] == label:
                future._log_traceback = False
                self.report('handler', f'{type(future).__name__} exception was never retrieved',
                            future._exception)
        # Objects without a name, or kept until here by a cycle of references (exception and frame).
        loop.set_exception_handler(
            lambda _, context: self.report('late', context['message'], context.get('exception')))
        for table in (self.made, self.futures, self.handles, self.callbacks, self.objects):
            table.clear()
        future = task = None
        gc.collect()
        asyncio.set_event_loop(None)
        self.close_pairs()
        loop.set_exception_handler(lambda loop, context: None)
        loop.close()
        return self.trace

    def close_pairs(self):
        """Closes the ends that are open; the trace has ended before."""
        if not self.pairs:
            return
        self.over = True
        self.loop.set_exception_handler(lambda loop, context: None)
        for pair in self.pairs.values():
            pair.close(self.loop)
        if not self.loop.is_closed():
            for _ in range(2):
                self.loop.call_soon(self.loop.stop)
                self.loop.run_forever()
        self.pairs.clear()

    def state(self, future):
        """pending, done or cancelled; for a task also its count of cancel requests."""
        text = 'cancelled' if future.cancelled() else 'done' if future.done() else 'pending'
        cancelling = getattr(future, 'cancelling', None)
        return text if cancelling is None else f'{text} {cancelling()}'
