import subprocess

from servers import PYTHON, WebSockets

SERVER = WebSockets
OUTPUT = """\
hello, and 900000 bytes
no message: TimeoutError; then: late
pong
after close: ConnectionClosedOK 1000
pinged: you are there
/farewell: ConnectionClosedOK 1001
/cut: ConnectionClosedError 1006
/bad-frame: ConnectionClosedError 1002
/secret: InvalidStatusCode 403
"""
CLIENT = """
import asyncio, sys, websockets

async def main():
    async with websockets.connect(f"ws://127.0.0.1:{sys.argv[1]}/echo") as socket:
        for text in "hello", "x" * 500000:
            await socket.send(text)
            assert await socket.recv() == text
        await (await socket.ping())
    try:
        await websockets.connect(f"ws://127.0.0.1:{sys.argv[1]}/elsewhere")
    except websockets.exceptions.InvalidStatusCode as error:
        print(error.status_code)

asyncio.run(main())
"""


def test_our_server_serves_the_client_of_others(run):
    with run.started(0, "serve") as program:
        port = program.line()
        done = subprocess.run([PYTHON, "-c", CLIENT, port], capture_output=True, text=True, timeout=30)
        assert done.stdout == "403\n", done.stderr


def test_killed_while_it_is_asked(run):
    assert run.killed(WebSockets) == {"ConnectionClosedError"}


def test_mute_server_is_a_timeout(run):
    with WebSockets() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "TimeoutError\n"


def test_cancelled_recv_loses_nothing(run):
    with WebSockets() as server:
        assert run(server.port, "cancel") == "wrong: 0, cancelled some: 1\n"
