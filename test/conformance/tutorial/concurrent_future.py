# concurrent_future: ten jobs for five workers; each future shows its state.
# transcript: stdout <Future at 0x[0-9a-f]+ state=running>
# transcript: stdout <Future at 0x[0-9a-f]+ state=pending>
# transcript: variant processes
# transcript: arguments --processes
# transcript: stdout <Future at 0x[0-9a-f]+ state=(running|pending)>
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor


def func(value):
    time.sleep(1)
    return value * value


def main():
    processes = "--processes" in sys.argv
    pool = (ProcessPoolExecutor if processes else ThreadPoolExecutor)(max_workers=5)
    futures = []
    for n in range(10):
        futures.append(pool.submit(func, n))
        time.sleep(0.01)  # time for an idle worker to take the job
        print(futures[-1])
    for future in futures:
        print(future.result())
    pool.shutdown()


if __name__ == "__main__":
    main()
