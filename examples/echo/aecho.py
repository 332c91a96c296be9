# An echo server on asyncio's sockets: try, and wait for the loop when the kernel says "not now".
# Look at echo(): it could be the code of one client who has the machine for himself. Compare mecho.py.
import asyncio

from echo import create_server, program, say, serve_with


async def echo(client, address):
    loop = asyncio.get_running_loop()
    say("Connection from %s:%d" % address)
    with client:
        try:
            while True:
                data = await loop.sock_recv(client, 10000)
                if not data:
                    break
                say("Got: ", data)
                await loop.sock_sendall(client, data)
        except OSError:  # the client has gone without a word
            pass
    say("Connection closed")


async def serve(server):
    loop = asyncio.get_running_loop()
    tasks = set()  # the loop itself keeps only weak references
    while True:
        try:
            client, address = await loop.sock_accept(server)
        except OSError as error:
            if program.out_of_descriptors(error):
                await asyncio.sleep(1)
            continue
        client.setblocking(False)
        task = loop.create_task(echo(client, address))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def serve_until_signal(port):
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(create_server(port)))
    program.stop_on_signals(asyncio.get_running_loop(), stop.set)
    await stop.wait()
    serving.cancel()


serve_with(lambda port: asyncio.run(serve_until_signal(port)))
