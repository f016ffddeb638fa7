"""A server of the page "hello" with aiohttp, and a client of it; with `uvloop` on uvloop.

    http_aiohttp.py [uvloop] server                              prints its port
    http_aiohttp.py [uvloop] client PORT CONNECTIONS REQUESTS    prints nanoseconds per request
"""
import asyncio
import sys
import time

import aiohttp
from aiohttp import web


async def hello(request):
    return web.Response(text='hello')


async def serve():
    app = web.Application()
    app.router.add_get('/', hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, '127.0.0.1', 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def ask(port, connections, requests):
    left = requests
    async with aiohttp.ClientSession() as session:
        async def work():
            nonlocal left
            while left > 0:
                left -= 1
                async with session.get(f'http://127.0.0.1:{port}/') as response:
                    assert await response.read() == b'hello'
        start = time.perf_counter_ns()
        await asyncio.gather(*(work() for _ in range(connections)))
        print((time.perf_counter_ns() - start) // requests)


words = sys.argv[1:]
if words[0] == 'uvloop':
    import uvloop
    uvloop.install()
    del words[0]
asyncio.run(serve() if words[0] == 'server' else ask(*map(int, words[1:])))
