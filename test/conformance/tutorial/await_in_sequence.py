# await_in_sequence: the second await begins when the first has ended.
import asyncio


async def others(value):
    print("start")
    await asyncio.sleep(2)
    print("end")
    return value + 1


async def func():
    print("before")
    response = await others(1)
    print("first", response)
    response = await others(response)
    print("second", response)


asyncio.run(func())
