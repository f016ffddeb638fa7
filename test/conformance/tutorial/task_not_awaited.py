# task_not_awaited: tasks that nobody waits for are cancelled when main ends.
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


asyncio.run(main())
