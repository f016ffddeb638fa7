"""The page "hello" and the files of a directory by aiohttp, and a client for the page; with `uvloop`
on uvloop.

    http_aiohttp.py [uvloop] server DIRECTORY [CERTIFICATE KEY]    prints its port
    http_aiohttp.py [uvloop] client URL CONNECTIONS REQUESTS       prints nanoseconds per request
"""
import asyncio
import ssl
import sys
import time

import aiohttp
from aiohttp import web


async def hello(request):
    return web.Response(text='hello')


async def serve(directory, *secret):
    app = web.Application()
    app.router.add_get('/', hello)
    app.router.add_static('/files', directory)
    context = None
    if secret:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*secret)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, '127.0.0.1', 0, ssl_context=context).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def ask(url, connections, requests):
    connections, requests = int(connections), int(requests)
    left = requests
    async with aiohttp.ClientSession() as session:
        async def work():
            nonlocal left
            while left > 0:
                left -= 1
                async with session.get(url) as response:
                    assert await response.read() == b'hello'
        start = time.perf_counter_ns()
        await asyncio.gather(*(work() for _ in range(connections)))
        print((time.perf_counter_ns() - start) // requests)


words = sys.argv[1:]
if words[0] == 'uvloop':
    import uvloop
    uvloop.install()
    del words[0]
asyncio.run((serve if words[0] == 'server' else ask)(*words[1:]))
