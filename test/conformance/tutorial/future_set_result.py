# future_set_result: another task completes the future.
import asyncio


async def set_after(future):
    await asyncio.sleep(2)
    future.set_result(12)


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    await loop.create_task(set_after(future))
    print(await future)


asyncio.run(main())
