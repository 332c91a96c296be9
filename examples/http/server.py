# One client at a time, with sockets that block: the simplest server there is, and nobody else is heard meanwhile.
# Look at the two waits in it, recv() and work(): whoever stands in line waits for both. `ab -c 2 -n 10` takes 1 s.
# It closes after each answer, for it cannot wait for a client's next request while others stand in line.
import os
import signal
import socket
import sys
import time

import http_


def respond(request):
    if request.target != "/quick":
        time.sleep(0.1)  # the work
    return "hello\n"


def answer(requests):
    try:
        request = requests.next()
        return http_.response("200 OK", "text/plain", respond(request), False) if request else b""
    except http_.Error as error:
        return http_.error_response(error)


def serve_client(client):
    client.settimeout(1)  # with who says nothing
    requests = http_.Requests()
    text = b""
    while not text:
        data = client.recv(65536)
        if not data:
            return
        requests.feed(data)
        text = answer(requests)
    client.sendall(text)
    client.shutdown(socket.SHUT_WR)
    for _ in range(100):  # as http_.hear_out
        if not client.recv(65536):
            break


def main(argv):
    for signum in signal.SIGINT, signal.SIGTERM:
        signal.signal(signum, lambda *_: sys.exit())
    server = socket.create_server(("127.0.0.1", int(argv[1]) if len(argv) > 1 else 8000), backlog=100)
    host, port = server.getsockname()
    print(f"serving http://{host}:{port}/ (process {os.getpid()})", flush=True)
    while True:
        client, _ = server.accept()
        with client:
            try:
                serve_client(client)
            except OSError:
                pass


main(sys.argv)
