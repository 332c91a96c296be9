# A generator that also receives: send() goes on, and hands a value in where the last yield handed one out.
# Look at yield: it is an expression, with the value that was sent. And at the end: to return is to raise
# StopIteration in the caller, with the returned value.


def spam():
    result = yield "somevalue"
    print("The result is", result)
    return "the end"


generator = spam()
for value in (None, 42, 43):  # before the first yield there is nobody to take a value
    print(f">>>> send({value})")
    try:
        print(generator.send(value))
    except StopIteration as stop:
        print("StopIteration:", stop.value)
    print()
