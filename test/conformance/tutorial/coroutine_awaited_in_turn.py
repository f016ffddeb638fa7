# coroutine_awaited_in_turn: coroutine objects run one after the other, not side by side.
import asyncio


async def func(flag):
    print(1)
    await asyncio.sleep(2)
    print(2)
    return flag


async def main():
    print("main start")
    result1 = await func("func1")
    result2 = await func("func2")
    print(result1, result2)


asyncio.run(main())
