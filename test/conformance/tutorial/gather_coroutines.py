# gather_coroutines: gather takes coroutines, a list of them, or tasks.
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
    await asyncio.gather(first(), second())

    coroutines = [first(), second()]
    await asyncio.gather(*coroutines)

    tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
    await asyncio.gather(*tasks)


asyncio.run(main())
