# future_forever: nobody completes the future, so only Ctrl-C ends the program.
# transcript: interrupt 1.0
# transcript: stderr ^KeyboardInterrupt$
import asyncio


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    print("waiting")
    await future


asyncio.run(main())
