# fibservcorothrd on asyncio's loop: sock_recv and sock_sendall wait as `ready` does, run_in_executor as run_in_thread
# does. Look at what is left of it: serve() and accept_clients(). The pipe, the threads and the tasks are the library's.
import asyncio

from fib import PORT, Lines, answer, create_server, program


async def serve(client):
    loop = asyncio.get_running_loop()
    lines = Lines()
    try:
        while data := await loop.sock_recv(client, 4096):
            lines.feed(data)
            while (line := lines.next()) is not None:
                text = await loop.run_in_executor(None, answer, line)
                await loop.sock_sendall(client, text)
    except OSError:
        pass  # the client broke the connection
    finally:
        client.close()


async def accept_clients(server):
    tasks = set()  # the loop itself refers to its tasks weakly
    while True:
        try:
            client, _ = await asyncio.get_running_loop().sock_accept(server)
        except OSError as error:
            program.out_of_descriptors(error)
            await asyncio.sleep(1)
            continue
        task = asyncio.create_task(serve(client))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def serve_until_signal(port):
    stop = asyncio.Event()
    server = create_server(port, blocking=False)
    program.stop_on_signals(asyncio.get_running_loop(), stop.set)
    accepting = asyncio.create_task(accept_clients(server))
    await stop.wait()
    accepting.cancel()
    await asyncio.wait([accepting])
    server.close()


program.run("[PORT]", lambda arguments: asyncio.run(serve_until_signal(arguments.port(PORT))))
