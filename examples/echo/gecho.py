# An echo server of green threads: each has a stack of its own, and code that looks as if it blocked.
# Look at echo(): recv() leaves this thread's stack for the loop's, though nothing in the line says so. Python alone has no
# green threads, the package gevent has; where it is missing these are the kernel's threads, and the code is the same.
try:
    from gevent import sleep, socket, spawn
except ImportError:
    import socket
    import threading
    from time import sleep

    def spawn(function, *args):
        threading.Thread(target=function, args=args, daemon=True).start()


import echo as shared
from echo import program, say, serve_with


def echo(client, address):
    say("Connection from %s:%d" % address)
    with client:
        try:
            while True:
                data = client.recv(10000)
                if not data:
                    break
                say("Got: ", data)
                client.sendall(data)
        except OSError:  # the client has gone without a word
            pass
    say("Connection closed")


def serve(server):
    while True:
        try:
            client, address = server.accept()
        except OSError as error:
            if program.out_of_descriptors(error):
                sleep(1)
            continue
        spawn(echo, client, address)


def serve_until_signal(port):
    program.end_on_signals()
    server = shared.create_server(port, blocking=True)
    serve(socket.socket(fileno=server.detach()))


serve_with(serve_until_signal)
