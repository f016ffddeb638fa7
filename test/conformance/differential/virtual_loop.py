"""CPython's event loop on a virtual clock, with insertion order where no order is specified.

Time is an int, in units of 1/2**20 microsecond. A deadline is rounded down to a whole microsecond
and the low bits hold a serial number, so that timers never tie and equal deadlines keep the order
in which they were set. When the loop would block, the clock jumps to the last unit of the
microsecond of the nearest deadline: timers of one microsecond fire in one batch.
"""

import asyncio
import selectors
import weakref
from asyncio import base_events, taskgroups, tasks, unix_events

UNIT = 1 << 20  # per microsecond
MILLISECOND = 1000 * UNIT


class OrderedSet:
    """The part of `set` that asyncio uses, iterated in the order of insertion."""

    __slots__ = ('_items',)

    def __init__(self, items=()):
        self._items = dict.fromkeys(items)

    def add(self, item):
        self._items[item] = None

    def discard(self, item):
        self._items.pop(item, None)

    def remove(self, item):
        del self._items[item]

    def clear(self):
        self._items.clear()

    def __contains__(self, item):
        return item in self._items

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)


class OrderedWeakSet(weakref.WeakKeyDictionary):
    """The part of `WeakSet` that asyncio uses, iterated in the order of insertion."""

    def add(self, item):
        self[item] = None

    def discard(self, item):
        self.pop(item, None)


class Selector:
    """Never waits: moves the clock of its loop instead."""

    def __init__(self, loop):
        self._loop = loop

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError('nothing can ever wake this loop')
        if timeout > 0:
            loop = self._loop
            loop.now = loop._scheduled[0]._when // UNIT * UNIT + UNIT - 1
        return ()

    def close(self):
        pass


class IoSelector(selectors.EpollSelector):
    """Moves the clock of its loop if no descriptor is ready."""

    loop = None

    def select(self, timeout=None):
        events = super().select(0)
        return events or Selector(self.loop).select(timeout)


class Virtual:
    """The common part of the two loops below."""

    def __init__(self, *args):
        super().__init__(*args)
        self._clock_resolution = 1
        self._serial = 0
        self._created = weakref.WeakKeyDictionary()
        self._asyncgens = OrderedWeakSet()
        self._tasks_made = 0
        self.now = UNIT - 1

    def time(self):
        return self.now

    def microseconds(self):
        return self.now // UNIT

    def advance(self, microseconds):
        """Moves the clock as a blocking call of that length would."""
        self.now += microseconds * UNIT

    def call_at(self, when, callback, *args, context=None):
        self._serial += 1
        return super().call_at(when // UNIT * UNIT + self._serial, callback, *args,
                               context=context)

    def create_task(self, coro, **kwargs):
        task = super().create_task(coro, **kwargs)
        self.number(task)
        return task

    def number(self, task):
        if task not in self._created:
            self._created[task] = self._tasks_made = self._tasks_made + 1

    def unfinished_tasks(self):
        """all_tasks(), in the order of creation."""
        return sorted((t for t in list(self._created) if not t.done()), key=self._created.get)


class VirtualLoop(Virtual, base_events.BaseEventLoop):
    """A loop without descriptors."""

    def __init__(self):
        super().__init__()
        self._selector = Selector(self)

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass


class IoLoop(Virtual, unix_events._UnixSelectorEventLoop):
    """A loop with descriptors, which are ready at once or when the scenario makes them ready."""

    def __init__(self):
        super().__init__(IoSelector())
        self._selector.loop = self


class Task(asyncio.Task):
    """A task with a number from before its constructor, in which an eager task already runs."""

    def __init__(self, coro, *, loop, **kwargs):
        loop.number(self)
        super().__init__(coro, loop=loop, **kwargs)


def _ordered_all_tasks(loop=None):
    return (loop or asyncio.get_running_loop()).unfinished_tasks()


def _ordered_as_completed():
    original = getattr(tasks, '_AsCompletedIterator', None)
    if original is None:  # before 3.13, where scenarios with as_completed are left out
        return asyncio.as_completed

    class Iterator(original):
        def __init__(self, aws, timeout):
            self._done = asyncio.Queue()
            self._timeout_handle = None
            loop = asyncio.get_running_loop()
            todo = OrderedSet(asyncio.ensure_future(a, loop=loop) for a in dict.fromkeys(aws))
            for future in todo:
                future.add_done_callback(self._handle_completion)
            if todo and timeout is not None:
                self._timeout_handle = loop.call_later(timeout, self._handle_timeout)
            self._todo = todo
            self._todo_left = len(todo)

    return lambda fs, *, timeout=None: Iterator(fs, timeout)


as_completed = None


def install(pure=False):
    """Patch asyncio. With `pure`, also replace the tasks and futures written in C."""
    global as_completed
    base_events.MAXIMUM_SELECT_TIMEOUT = 1 << 100
    tasks.set = taskgroups.set = OrderedSet
    tasks.all_tasks = _ordered_all_tasks
    as_completed = _ordered_as_completed()
    if pure:
        asyncio.Task = tasks.Task = tasks._PyTask
        if hasattr(asyncio, 'eager_task_factory'):
            asyncio.eager_task_factory = asyncio.create_eager_task_factory(tasks.Task)
        futures = asyncio.futures
        asyncio.Future = futures.Future = futures._PyFuture
