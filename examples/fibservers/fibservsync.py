# One client after the other. Look at serve_clients: who comes second is served when the first has left.
from fib import PORT, Lines, accept, answer, create_server, program


def serve(client):
    lines = Lines()
    try:
        while data := client.recv(4096):
            lines.feed(data)
            while (line := lines.next()) is not None:
                client.sendall(answer(line))
    except OSError:
        pass
    client.close()


def serve_clients(arguments):
    program.end_on_signals()
    server = create_server(arguments.port(PORT), blocking=True)
    while True:
        serve(accept(server))


program.run("[PORT]", serve_clients)
