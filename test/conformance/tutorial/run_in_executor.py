# run_in_executor: blocking functions in the loop's pool, in a pool of threads, of processes.
import asyncio
import concurrent.futures
import time


def func():
    time.sleep(2)
    return "func return"


async def main():
    loop = asyncio.get_running_loop()

    result = await loop.run_in_executor(None, func)
    print("default thread pool", result)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        result = await loop.run_in_executor(pool, func)
        print("custom thread pool", result)

    with concurrent.futures.ProcessPoolExecutor() as pool:
        result = await loop.run_in_executor(pool, func)
        print("custom process pool", result)


if __name__ == "__main__":
    asyncio.run(main())
