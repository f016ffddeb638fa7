# await_task: while one task waits, the other runs.
import asyncio


async def func():
    print(1)
    await asyncio.sleep(2)
    print(2)


async def main():
    tasks = [asyncio.create_task(func()), asyncio.create_task(func())]
    await asyncio.gather(*tasks)


asyncio.run(main())
