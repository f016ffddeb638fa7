# template_loop: coroutine object, loop, task, run; then several at once.
import asyncio


async def greet(name):
    print("hello", name)


asyncio.set_event_loop(asyncio.new_event_loop())
loop = asyncio.get_event_loop()

task = loop.create_task(greet("world"))
loop.run_until_complete(task)

future = asyncio.ensure_future(greet("world"), loop=loop)
loop.run_until_complete(future)

tasks = [loop.create_task(greet("world")), asyncio.ensure_future(greet("world"), loop=loop)]
loop.run_until_complete(asyncio.wait(tasks))
loop.close()
