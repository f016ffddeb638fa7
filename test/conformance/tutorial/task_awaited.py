# task_awaited: tasks run side by side, awaiting them fetches their values.
import asyncio


async def func(flag):
    print(1)
    await asyncio.sleep(2)
    print(2)
    return flag


async def main():
    print("main start")
    task1 = asyncio.create_task(func("task1"))
    task2 = asyncio.create_task(func("task2"))
    print("main end")
    result1 = await task1
    result2 = await task2
    print(result1, result2)


asyncio.run(main())
