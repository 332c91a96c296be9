# A generator: a function with `yield` in it.
# Python brings what yield.cpp makes by hand: the object with a frame, next() to go on, and the value at each yield.


def countdown(n):
    while n > 0:
        yield n
        n -= 1


for i in countdown(5):
    print(i, end=" ")
print()
