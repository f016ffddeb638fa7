"""The peer of the tests in peers_test.cpp, with Python's own ssl and asyncio.

peer.py client PORT CAFILE     connects, talks, prints what it received
peer.py server CERTFILE        prints its port, serves one connection, prints what it received
"""
import asyncio
import ssl
import sys

BLOCK = bytes(range(256)) * 4096  # 1 MiB


async def client(port, cafile):
    context = ssl.create_default_context(cafile=cafile)
    context.set_alpn_protocols(["fiber/1", "other"])
    reader, writer = await asyncio.open_connection("localhost", int(port), ssl=context)
    tls = writer.get_extra_info("ssl_object")
    print(tls.version(), tls.selected_alpn_protocol())
    writer.write(b"shout me\n")
    print((await reader.readline()).decode().strip())
    writer.write(BLOCK)
    await writer.drain()
    print((await reader.readexactly(len(BLOCK))) == BLOCK)
    writer.write(b"bye\n")
    print(await reader.read() == b"")
    writer.close()
    await writer.wait_closed()


async def server(certfile):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certfile)
    done = asyncio.Event()

    async def serve(reader, writer):
        tls = writer.get_extra_info("ssl_object")
        print(tls.version())
        line = await reader.readline()
        writer.write(line.upper())
        data = await reader.readexactly(len(BLOCK))
        print(data == BLOCK)
        writer.write(data)
        await writer.drain()
        print(await reader.read() == b"")
        writer.close()
        await writer.wait_closed()
        done.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await done.wait()


asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
