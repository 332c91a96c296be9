# One client at a time, with sockets that block: the simplest server there is, and nobody else is heard meanwhile.
# Look at the two waits in it, recv() and work(): whoever stands in line waits for both. `ab -c 2 -n 10` takes 1 s.
# It closes after each answer, for it cannot wait for a client's next request while others stand in line.
import os
import socket
import time

import http_
from http_ import program


def respond(request):
    if request.target != "/quick":
        time.sleep(0.1)  # the work
    return "hello\n"


def answer(requests):
    request = None
    try:
        request = requests.next()
        if not request:
            return b""
        request.keep_alive = False
        return http_.response(request, "200 OK", "text/plain", respond(request))
    except http_.Error as error:
        return http_.error_response(request, error)


def serve_client(client):
    client.settimeout(1)  # with who says nothing, or takes nothing in
    end = time.monotonic() + 2  # and with who says a little now and then
    requests = http_.Requests()
    text = b""
    while not text and time.monotonic() < end:
        data = client.recv(65536)
        if not data:
            return
        requests.feed(data)
        text = answer(requests)
    client.sendall(text)
    client.shutdown(socket.SHUT_WR)
    while time.monotonic() < end and client.recv(65536):  # as http_.hear_out
        continue


def serve(arguments):
    program.end_on_signals()
    server = socket.create_server(("127.0.0.1", arguments.port(http_.PORT)), backlog=100)
    host, port = server.getsockname()
    print(f"serving http://{host}:{port}/ (process {os.getpid()})", flush=True)
    while True:
        try:
            client, _ = server.accept()
        except OSError as error:
            if program.out_of_descriptors(error):
                time.sleep(1)
            continue
        with client:
            try:
                serve_client(client)
            except OSError:
                pass


program.run("[PORT]", serve)
