# An echo server of threads: each has a stack of its own, and code that does block.
# Python alone has no green threads (the package greenlet has): these are the kernel's. The code is the same; it is the
# kernel that leaves a thread's stack for another one, at any place, and not only in wait().
import socket
import sys
import threading


def echo(client):
    with client:
        try:
            while True:
                data = client.recv(10000)
                if not data:
                    break
                client.sendall(data)
        except OSError:  # the client has gone without a word
            pass


def create_server(port):
    server = socket.create_server(("127.0.0.1", port), backlog=1024)
    print("serving on %s:%d" % server.getsockname(), flush=True)
    return server


def serve(server):
    while True:
        client, address = server.accept()
        threading.Thread(target=echo, args=(client,), daemon=True).start()


serve(create_server(int(sys.argv[1]) if len(sys.argv) > 1 else 50000))
