# async_await: two tasks that sleep at the same time, with async and await.
import asyncio


async def first():
    print(1)
    await asyncio.sleep(2)
    print(2)


async def second():
    print(3)
    await asyncio.sleep(2)
    print(4)


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
tasks = [asyncio.ensure_future(first(), loop=loop), asyncio.ensure_future(second(), loop=loop)]
loop.run_until_complete(asyncio.wait(tasks))
loop.close()
