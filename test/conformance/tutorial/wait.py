# wait: two sets, done and pending; when it returns; errors stay in the tasks.
import asyncio


async def work(n):
    await asyncio.sleep(n)
    return n


async def fail(n):
    await asyncio.sleep(n)
    raise ValueError(f"failed after {n}")


async def main():
    tasks = [asyncio.create_task(work(n), name=f"work {n}") for n in (1, 2, 3)]
    done, pending = await asyncio.wait(tasks, timeout=2.5)
    for result in sorted([task.result() for task in done]):
        print("done", result)
    for task in pending:
        print("pending", task.get_name())

    for when in (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED):
        tasks = [asyncio.create_task(co) for co in (work(1), fail(2), work(3))]
        done, pending = await asyncio.wait(tasks, return_when=when)
        print(when, len(done), "done", len(pending), "pending")
        for task in tasks:
            task.cancel()

    try:
        tasks[1].result()
    except ValueError as error:
        print("ValueError", error)


asyncio.run(main())
