# download_aiohttp: six pictures at once, all in one thread, on the loop.
# transcript: arguments --output {tmp}/images
# transcript: stdout directory made .*images
# transcript: stdout saved [1-6]\.bmp
# transcript: stdout elapsed [0-9.]+
import asyncio
import urllib.parse

from _pictures import download, name_of, save


async def get(url):
    parts = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return body


async def download_image(url, directory):
    print("start", name_of(url))
    save(directory, url, await get(url))


async def main(urls, directory):
    await asyncio.gather(*[download_image(url, directory) for url in urls])


with download() as (urls, directory):
    asyncio.run(main(urls, directory))
