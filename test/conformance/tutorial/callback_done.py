# callback_done: the loop calls a function with the finished task.
# transcript: stdout -?[0-9]+
import asyncio
import random


def callback(future):
    print(future.result() - 100)


async def set_number():
    return random.randint(0, 100)


async def main():
    task = asyncio.create_task(set_number())
    await task
    task.add_done_callback(callback)


asyncio.run(main())
