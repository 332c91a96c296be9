# A client with one big question: asks for fib(33), or the number that is its second argument, and says each time how
# many seconds the answer took.
import socket
import sys
import time

from fib import ask, end_on_signals, port_argument

end_on_signals()
server = socket.create_connection(("127.0.0.1", port_argument()))
number = int(sys.argv[2]) if len(sys.argv) > 2 else 33
start = time.monotonic()
while ask(server, number):
    print(f"{time.monotonic() - start:g} s/request", flush=True)
    start = time.monotonic()
print("the server has gone")
