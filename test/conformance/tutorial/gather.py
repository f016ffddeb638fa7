# gather: results in the order of the arguments; what an exception does to it and to the siblings.
import asyncio


async def work(n):
    await asyncio.sleep(n)
    return n


async def count(n):
    await asyncio.sleep(n)
    if n == 2:
        raise ValueError("two is bad")
    print(n)
    return n


async def main():
    print(await asyncio.gather(*[work(n) for n in (1, 2, 3)]))

    tasks = [asyncio.create_task(count(n)) for n in (1, 2, 3)]
    try:
        await asyncio.gather(*tasks)
    except ValueError as error:
        print("ValueError", error)
    print("sibling", await tasks[2])

    print(await asyncio.gather(*[count(n) for n in (1, 2, 3)], return_exceptions=True))


asyncio.run(main())
