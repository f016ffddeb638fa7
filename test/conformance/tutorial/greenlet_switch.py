# greenlet_switch: two greenlets hand control to each other.
from greenlet import greenlet


def odd():
    print(1)
    second.switch()
    print(2)
    second.switch()


def even():
    print(3)
    first.switch()
    print(4)


first = greenlet(odd)
second = greenlet(even)
first.switch()
