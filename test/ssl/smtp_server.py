"""An SMTP server that wants STARTTLS, for servers_test.cpp.

smtp_server.py CERTFILE     prints its port, then a line for each message; ends when its input ends
"""
import asyncio
import ssl
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    async def handle_DATA(self, server, session, envelope):
        last = envelope.content.splitlines()[-1].decode()
        print(envelope.mail_from, *envelope.rcpt_tos, last, session.ssl is not None, flush=True)
        return "250 taken"


async def main(certfile):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certfile)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(), hostname="localhost", tls_context=context, require_starttls=True),
        "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main(sys.argv[1]))
