# coroutine_object: a call makes an object and runs nothing; a loop or run() runs it.
# transcript: stderr coroutine 'func' was never awaited
import asyncio


async def func():
    print("hello")


result = func()
loop = asyncio.new_event_loop()
loop.run_until_complete(result)
loop.close()

result = func()
asyncio.run(result)

func()
