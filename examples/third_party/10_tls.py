# TLS as asyncio does it: sslproto.SSLProtocol between two memory BIOs, which tls.hpp follows.
# Look at sslproto.py: it is the protocol of one transport, and the transport of another protocol.
import asyncio
import os
import ssl

import common

FOLDER = os.environ.get("CERTIFICATES", ".")


def trusting(file="ca.pem"):
    return ssl.create_default_context(cafile=f"{FOLDER}/{file}")


def serving():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{FOLDER}/server.pem", f"{FOLDER}/server.key")
    return context


def connect(port, context, name="localhost", **options):
    return asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name, **options)


async def ask(streams, line):
    streams[1].write(line.encode() + b"\n")
    return (await streams[0].readline()).decode().rstrip("\n")


async def show_server(port):
    streams = await connect(port, trusting())
    print("openssl s_server says:", await ask(streams, "!olleh"))
    streams[1].close()
    await streams[1].wait_closed()


async def show_wrong_certificates(port):
    """The handshake fails: the certificate is for another name; or signed by somebody whom we do not trust."""
    print("wrong name:", await common.error_of(connect(port, trusting(), "elsewhere")))
    print("unknown authority:", await common.error_of(connect(port, ssl.create_default_context())))


async def say_in_plain(reader, writer):
    writer.write(b"220 mail.test at your service\r\n")
    await reader.read()


async def say_nothing(reader, writer):
    await reader.read()


async def hang_up(reader, writer):
    await reader.read(1)
    writer.close()


async def error_against(peer, timeout):
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error = await common.error_of(connect(port, trusting(), ssl_handshake_timeout=timeout))
    server.close()
    return error


async def show_other_peers():
    print("a peer that does not encrypt:", await error_against(say_in_plain, 10))
    print("a mute peer:", await error_against(say_nothing, 0.1))
    print("a peer that hangs up:", await error_against(hang_up, 10))


async def echo(reader, writer):
    while data := await reader.read(64 * 1024):
        writer.write(data)
        await writer.drain()
    writer.close()


async def show_own_server():
    """Our own server: 5 MB there and back, more than any buffer holds, and a farewell in order."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=serving())
    reader, writer = await connect(server.sockets[0].getsockname()[1], trusting())
    sent = b"x" * 5_000_000

    async def send():
        for at in range(0, len(sent), 50_000):
            writer.write(sent[at:at + 50_000])
            await writer.drain()

    sending = asyncio.create_task(send())
    received = await reader.readexactly(len(sent))
    await sending
    print(f"our server echoes 5 MB: {received == sent:d}")
    writer.close()
    await writer.wait_closed()
    print(f"after close: {len(await reader.read())} bytes, and no error")
    server.close()


async def mail_server(reader, writer):
    """Begins in plain, and agrees to encrypt, as mail servers do. Both ends go on with the same reader and writer."""
    await reader.readline()
    writer.write(b"220 go ahead\n")
    await writer.start_tls(serving())
    await echo(reader, writer)


async def show_starttls():
    server = await asyncio.start_server(mail_server, "127.0.0.1", 0)
    streams = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    plain = await ask(streams, "STARTTLS")
    await streams[1].start_tls(trusting(), server_hostname="localhost")
    print(f"{plain}, then encrypted: {await ask(streams, 'a secret')}")
    streams[1].close()
    await streams[1].wait_closed()
    server.close()


async def demonstrate(port):
    await show_server(port)
    await show_wrong_certificates(port)
    await show_other_peers()
    await show_own_server()
    await show_starttls()


async def measure():
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=serving())
    port = server.sockets[0].getsockname()[1]
    context = trusting()
    handshakes = common.Stopwatch()
    for _ in range(200):
        _, writer = await connect(port, context)
        writer.close()
        await writer.wait_closed()
    handshakes.report("connections", 200)
    streams = await connect(port, context)
    messages = common.Stopwatch()
    for _ in range(5000):
        await ask(streams, "sixty-four bytes or so, there and back again, as fast as it goes")
    messages.report("messages of 64 bytes", 5000)
    streams[1].close()
    server.close()


asyncio.run(measure() if common.MODE == "bench" else demonstrate(common.PORT))
