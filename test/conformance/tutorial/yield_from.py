# yield_from: a generator lets another one yield in its place.
def inner():
    yield 3
    yield 4


def outer():
    yield 1
    yield from inner()
    yield 2


for item in outer():
    print(item)
