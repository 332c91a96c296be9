# One client after the other. Look at the last line: who comes second is served when the first has left.
from fib import Lines, answer, create_server, end_on_signals, port_argument


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


end_on_signals()
server = create_server(port_argument(), blocking=True)
while True:
    serve(server.accept()[0])
