"""The servers of the network rows on asyncio or uvloop. Prints its port.

    echo_asyncio.py asyncio|uvloop tcp|udp|accept
    echo_asyncio.py asyncio|uvloop tls CERTIFICATE KEY
"""
import asyncio
import ssl
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class OneByte(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b'x')
        transport.close()


async def main(mode, *identity):
    loop = asyncio.get_running_loop()
    if mode == 'udp':
        transport, _ = await loop.create_datagram_endpoint(Echo, ('127.0.0.1', 0))
        sock = transport.get_extra_info('socket')
    else:
        context = None
        if identity:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*identity)
        protocol = OneByte if mode == 'accept' else Echo
        server = await loop.create_server(protocol, '127.0.0.1', 0, ssl=context, backlog=1024)
        sock = server.sockets[0]
    print(sock.getsockname()[1], flush=True)
    await loop.create_future()


if sys.argv[1] == 'uvloop':
    import uvloop

    uvloop.install()
asyncio.run(main(*sys.argv[2:]))
