"""Runs the benchmark's rows on CPython. Prints lines "work<TAB>who<TAB>median<TAB>low<TAB>high" in
nanoseconds, for the groups named as arguments (without arguments for all of them)."""
import asyncio
import gc
import statistics
import sys
import time

try:
    import greenlet
except ImportError:
    greenlet = None
try:
    import uvloop
except ImportError:
    uvloop = None


def report(work, who, items, body):
    gc.disable()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        body(items)
        times.append((time.perf_counter() - start) / items * 1e9)
    gc.enable()
    print(work, who, f"{statistics.median(times):.1f}", f"{min(times):.1f}", f"{max(times):.1f}",
          sep="\t", flush=True)


def switches(items):
    def other():
        while True:
            main.switch()

    main = greenlet.getcurrent()
    peer = greenlet.greenlet(other)
    for _ in range(items // 2):
        peer.switch()


def generator(items):
    def count():
        for i in range(items):
            yield i

    for _ in count():
        pass


def sleep0(tasks):
    def body(items):
        async def one():
            for _ in range(items // tasks):
                await asyncio.sleep(0)

        async def main():
            await asyncio.gather(*(one() for _ in range(tasks)))

        asyncio.run(main())

    return body


async def nothing():
    pass


def create(items):
    async def main():
        for _ in range(items):
            await asyncio.create_task(nothing())

    asyncio.run(main())


def gather(items):
    async def main():
        await asyncio.gather(*(nothing() for _ in range(items)))

    asyncio.run(main())


def ping_pong(items):
    async def main():
        there, back = asyncio.Queue(1), asyncio.Queue(1)

        async def echo():
            for _ in range(items):
                await back.put(await there.get())

        task = asyncio.create_task(echo())
        for _ in range(items):
            await there.put(1)
            await back.get()
        await task

    asyncio.run(main())


def chosen(group):
    return len(sys.argv) == 1 or group in sys.argv[1:]


def loops():
    """Times the work on CPython's own loop, then on uvloop."""
    yield "CPython"
    if uvloop:
        uvloop.install()
        yield "uvloop"


if chosen("switches") and greenlet:
    report("switch one way", "CPython greenlet", 400_000, switches)
if chosen("generators"):
    report("generator, per item", "CPython", 1_000_000, generator)
for loop in loops():
    if chosen("tasks"):
        for count in (10, 1_000, 100_000):
            report(f"sleep(0), {count} tasks", loop, max(100_000, count), sleep0(count))
        report("create and await one task", loop, 50_000, create)
        report("gather of 1000000 that return at once", loop, 1_000_000, gather)
    if chosen("synchronization"):
        report("queue ping-pong, round trip", loop, 30_000, ping_pong)
