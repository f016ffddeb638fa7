# callback_result: the value of a task, fetched after await.
# transcript: stdout random number [0-9]+
import asyncio
import random


async def set_number():
    return random.randint(0, 100)


async def main():
    task = asyncio.create_task(set_number())
    await task
    print("random number", task.result())


asyncio.run(main())
