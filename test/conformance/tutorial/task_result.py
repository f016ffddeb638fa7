# task_result: a finished task keeps its value.
import asyncio


async def first(x):
    print(1)
    await asyncio.sleep(2)
    print(2)
    return x * x


async def second(y):
    print(3)
    await asyncio.sleep(2)
    print(4)
    return y * y


async def main():
    tasks = [asyncio.create_task(first(12)), asyncio.create_task(second(2))]
    await asyncio.gather(*tasks)
    for task in tasks:
        print(task.result())


asyncio.run(main())
