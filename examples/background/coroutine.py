# A generator that also receives: send() goes on, and hands a value in where the last yield handed one out.
# Look at yield: it is an expression, with the value that was sent. And at the end: to return is to raise
# StopIteration in the caller, with the returned value; any other exception comes out as it is.


def average():
    total, count, sent = 0, 0, (yield 0)
    while sent != 0:
        if sent < 0:
            raise ValueError("a negative number")
        total += sent
        count += 1
        sent = yield total / count
    return f"averaged {count} numbers"


def drive(values):
    generator = average()
    next(generator)  # to the first yield: before it there is nowhere to send a value to
    try:
        for value in values:
            answer = generator.send(value)
            print(f"sent {value}, received {answer:g}")
    except StopIteration as stop:
        print(f"StopIteration: {stop.value}")
    except ValueError as error:
        print(f"ValueError: {error}")


drive([1, 2, 6, 0])
drive([4, -1])
