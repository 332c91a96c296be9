# The same echo server on a loop of 60 lines: myloop.py.
# Look at the difference to aecho.py: there is none. The interface is worth that: who writes a handler need not know what
# runs it. And what a loop has beyond this, cancellation, timeouts, results, is what asyncio is for.
import myloop
from echo import create_server, program, say, serve_with


async def echo(client, address):
    say("Connection from %s:%d" % address)
    with client:
        try:
            while True:
                data = await myloop.sock_recv(client, 10000)
                if not data:
                    break
                say("Got: ", data)
                await myloop.sock_sendall(client, data)
        except OSError:  # the client has gone without a word
            pass
    say("Connection closed")


async def serve(server):
    while True:
        try:
            client, address = await myloop.sock_accept(server)
        except OSError as error:
            if program.out_of_descriptors(error):
                await myloop.pause()
            continue
        client.setblocking(False)
        myloop.start(echo(client, address))


def serve_until_signal(port):
    program.end_on_signals()
    myloop.start(serve(create_server(port)))
    myloop.run_forever()


serve_with(serve_until_signal)
