# template_run: one main coroutine, run, that makes tasks and gathers them.
import asyncio


async def first():
    print(1)
    await asyncio.sleep(2)
    print(2)


async def second():
    print(3)
    await asyncio.sleep(2)
    print(4)


async def main():
    tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
    await asyncio.gather(*tasks)


asyncio.run(main())
