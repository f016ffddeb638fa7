# download_executor: six blocking calls at once, in the threads of the loop's pool.
# transcript: arguments --output {tmp}/images
# transcript: stdout directory made .*images
# transcript: stdout saved [1-6]\.bmp
# transcript: stdout elapsed [0-9.]+
import asyncio
from concurrent.futures import ThreadPoolExecutor

from _pictures import download, get, name_of, save


async def download_image(url, directory):
    print("start", name_of(url))
    loop = asyncio.get_running_loop()
    save(directory, url, await loop.run_in_executor(None, get, url))


with download() as (urls, directory):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(len(urls)))
    tasks = [asyncio.ensure_future(download_image(url, directory), loop=loop) for url in urls]
    loop.run_until_complete(asyncio.wait(tasks))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
