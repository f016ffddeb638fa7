# await_together: as many tasks as one likes, awaited at once.
import asyncio


async def others(value):
    print("start")
    await asyncio.sleep(2)
    print("end")
    return value


async def func(limit):
    tasks = [asyncio.create_task(others(n)) for n in range(limit)]
    responses = await asyncio.gather(*tasks, return_exceptions=True)
    print(responses)


asyncio.run(func(limit=3))
