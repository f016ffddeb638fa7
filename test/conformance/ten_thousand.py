#!/usr/bin/env python3
"""Ten thousand tasks that sleep, lock, wait with time limits and are cancelled at random, on CPython.

Prints the number of events and a hash over all of them. test/asyncio/scale_test.cpp is this program
in C++ and expects both numbers.
"""

import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'differential'))
import virtual_loop  # noqa: E402
from virtual_loop import MILLISECOND  # noqa: E402

TASKS, LOCKS, PLACES = 10_000, 50, 20


class Random:
    def __init__(self, seed):
        self.state = seed

    def __call__(self, n):
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return (self.state >> 16) % n


class Events:
    def __init__(self):
        self.count = 0
        self.hash = 0xcbf29ce484222325

    def __call__(self, task, what):
        now = asyncio.get_running_loop().microseconds()
        self.count += 1
        for byte in f'{now} {task} {what};'.encode():
            self.hash = (self.hash ^ byte) * 0x100000001b3 % 2**64


async def worker(number, note, locks, places):
    random = Random(number)
    for step in range(5):
        op = random(5)
        try:
            if op == 0:
                await asyncio.sleep(random(20) * MILLISECOND)
            elif op == 1:
                async with locks[random(LOCKS)]:
                    note(number, 90)
                    await asyncio.sleep(random(3) * MILLISECOND)
            elif op == 2:
                async with asyncio.timeout((1 + random(10)) * MILLISECOND):
                    await asyncio.sleep(random(20) * MILLISECOND)
            elif op == 3:
                await asyncio.sleep(0)
            else:
                async with places[random(PLACES)]:
                    await asyncio.sleep(0)
            note(number, step * 10 + op)
        except TimeoutError:
            note(number, 91)
        except asyncio.CancelledError:
            note(number, 92)
            if random(3) == 0:
                raise


async def main():
    note = Events()
    locks = [asyncio.Lock() for _ in range(LOCKS)]
    places = [asyncio.Semaphore(3) for _ in range(PLACES)]
    tasks = [asyncio.create_task(worker(i, note, locks, places)) for i in range(TASKS)]
    random = Random(TASKS)
    for _ in range(300):
        await asyncio.sleep(random(3) * MILLISECOND)
        for _ in range(20):
            tasks[random(TASKS)].cancel()
    await asyncio.wait(tasks)
    for number, task in enumerate(tasks):
        note(number, 100 + task.cancelled())
    print(f'{note.count} {note.hash:#x}')


virtual_loop.install()
asyncio.run(main(), loop_factory=virtual_loop.VirtualLoop)
