# A client in a hurry: asks for fib(1) again and again, and says every second how many answers it got.
import socket
import threading
import time

from fib import PORT, ask, program

answers = 0


def monitor():
    global answers
    while True:
        time.sleep(1)
        print(answers, "requests/s", flush=True)
        answers = 0


def ask_forever(arguments):
    global answers
    program.end_on_signals()
    server = socket.create_connection(("127.0.0.1", arguments.port(PORT)))
    threading.Thread(target=monitor, daemon=True).start()
    while ask(server, 1):
        answers += 1
    print("the server has gone")


program.run("[PORT]", ask_forever)
