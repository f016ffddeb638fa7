# asyncio_coroutine: coroutines as decorated generators, the way before async and await.
# (asyncio.coroutine left in Python 3.11; types.coroutine is what remains of it.)
import asyncio
from types import coroutine


@coroutine
def first():
    print(1)
    yield from asyncio.sleep(2)
    print(2)


@coroutine
def second():
    print(3)
    yield from asyncio.sleep(2)
    print(4)


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
tasks = [asyncio.ensure_future(first(), loop=loop), asyncio.ensure_future(second(), loop=loop)]
loop.run_until_complete(asyncio.wait(tasks))
loop.close()
