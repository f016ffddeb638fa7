# await_coroutine: awaiting a coroutine object runs it and gives its value.
import asyncio


async def others():
    print("start")
    await asyncio.sleep(2)
    print("end")
    return 12


async def func():
    print("before")
    response = await others()
    print("after", response)


asyncio.run(func())
