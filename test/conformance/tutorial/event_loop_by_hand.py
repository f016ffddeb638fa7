# event_loop_by_hand: what an event loop does, on greenlets alone.
import time
from greenlet import getcurrent, greenlet


class Task:
    def __init__(self, name, seconds):
        self.name = name
        self.wake_at = 0.0
        self.fiber = greenlet(lambda: job(self, seconds))


def job(task, seconds):
    print(task.name, "starts")
    pause(task, seconds)
    print(task.name, "ends")


def pause(task, seconds):
    task.wake_at = now + seconds
    getcurrent().parent.switch()


def check(tasks):
    ready = [t for t in tasks if not t.fiber.dead and t.wake_at <= now]
    finished = [t for t in tasks if t.fiber.dead]
    return ready, finished


def show(word, tasks):
    print(word, *[t.name for t in tasks] or ["none"])


tasks = [Task("a", 1), Task("b", 2), Task("c", 1)]
round_number = 0
now = time.monotonic()
while tasks:
    round_number += 1
    print("round", round_number)
    ready, finished = check(tasks)
    show("ready", ready)
    show("finished", finished)
    for task in ready:
        task.fiber.switch()
    for task in finished:
        tasks.remove(task)
    if not ready and not finished:
        print("nothing to do, sleep")
        time.sleep(min(t.wake_at for t in tasks) - now)
    now = time.monotonic()
print("no task left")
