# A client with one big question: asks for fib(33), or the number that is its second argument, and says each time how
# many seconds the answer took.
import socket
import time

from fib import MAX_NUMBER, PORT, ask, program


def ask_forever(arguments):
    program.end_on_signals()
    number = arguments.number(1, 33, 0, MAX_NUMBER)
    server = socket.create_connection(("127.0.0.1", arguments.port(PORT)))
    start = time.monotonic()
    while ask(server, number):
        print(f"{time.monotonic() - start:g} s/request", flush=True)
        start = time.monotonic()
    print("the server has gone")


program.run("[PORT [NUMBER]]", ask_forever)
