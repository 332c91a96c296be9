# A thread for each client. Look at serve_clients: its last line is the only one that differs from fibservsync.
import threading

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
        threading.Thread(target=serve, args=(accept(server),), daemon=True).start()


program.run("[PORT]", serve_clients)
