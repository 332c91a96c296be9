"""The operations of the outside world: sockets, transports, streams, servers, executors, signals. The twin of world.cpp."""

import asyncio
import concurrent.futures
import errno
import fcntl
import os
import signal
import socket
import threading

# CPython 3.13.0 forgets pause_writing() in writelines(), which later versions do, and fails there after the connection is lost.
_writelines = asyncio.selector_events._SelectorSocketTransport.writelines


def writelines(self, list_of_data):
    if self._conn_lost:
        self.write(b"".join(list_of_data))
        return
    _writelines(self, list_of_data)
    self._maybe_pause_protocol()


asyncio.selector_events._SelectorSocketTransport.writelines = writelines

# close() forgets the writer, also where it waits until the buffer is sent: what is written then is a TypeError.
_close = asyncio.selector_events._SelectorSocketTransport.close


def close(self):
    _close(self)
    self._write_ready = self._write_sendmsg


asyncio.selector_events._SelectorSocketTransport.close = close

# Where close() waited until the buffer was sent, 3.13.0 does not count the connection as lost: what connection_lost() writes waits
# for a socket that is closed at once, and write() and abort() are an AttributeError afterwards.
_call_connection_lost = asyncio.selector_events._SelectorTransport._call_connection_lost


def call_connection_lost(self, error):
    self._conn_lost = self._conn_lost or 1
    _call_connection_lost(self, error)


asyncio.selector_events._SelectorTransport._call_connection_lost = call_connection_lost

# The traceback of what a connection died of refers to the frames that called, and they to futures that would otherwise be gone.


def forget_frames_of_fatal_errors(transport):
    fatal_error = transport._fatal_error

    def forgetful(self, error, *message):
        error.__traceback__ = None
        fatal_error(self, error, *message)

    transport._fatal_error = forgetful


forget_frames_of_fatal_errors(asyncio.selector_events._SelectorTransport)
forget_frames_of_fatal_errors(asyncio.unix_events._UnixReadPipeTransport)
forget_frames_of_fatal_errors(asyncio.unix_events._UnixWritePipeTransport)

# A connection that was accepted when its server had been closed is closed by upstream's collector: when is nobody's to say.
_attach = asyncio.base_events.Server._attach


def attach(self, transport):
    if self._sockets is None:
        transport._sock.close()
    _attach(self, transport)


asyncio.base_events.Server._attach = attach

# The reader of a sock_accept() that has been cancelled in this iteration accepts a connection for nobody, and then raises
# InvalidStateError: alone among the sock_ methods it does not ask whether its future is done.
_sock_accept = asyncio.selector_events.BaseSelectorEventLoop._sock_accept


def sock_accept(self, future, sock):
    if not future.done():
        _sock_accept(self, future, sock)


asyncio.selector_events.BaseSelectorEventLoop._sock_accept = sock_accept

# A pipe's protocol is resumed when the buffer is empty; ours when it is below its mark, as of a socket: NOTES [pipe-transport].
_write_ready = asyncio.unix_events._UnixWritePipeTransport._write_ready


def write_ready(self):
    before = len(self._buffer)
    _write_ready(self)
    if 0 < len(self._buffer) < before:
        self._maybe_resume_protocol()


asyncio.unix_events._UnixWritePipeTransport._write_ready = write_ready

SEND_BUFFER = 4608  # bytes: the smallest that Linux gives, so that a long write is a partial one
PIPE_SIZE = 4096  # bytes: the smallest of a pipe
ERRNO_OF = {ConnectionResetError: errno.ECONNRESET, ConnectionAbortedError: errno.ECONNABORTED, BrokenPipeError: errno.EPIPE,
            ProcessLookupError: errno.ESRCH}


class Socket:
    def __init__(self, sock, path=None):
        sock.setblocking(False)
        if path is None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.sock = sock
        self.path = path  # of a listener
        self.receives = self.sends = False  # a task waits for it: a second one would take its place

    def take(self):
        """A transport has it from now on."""
        sock, self.sock = self.sock, None
        return sock


class PipeEnd:
    """What a Socket holds that is an end of a pipe."""

    def __init__(self, fd, mode):
        os.set_blocking(fd, False)
        self.file = os.fdopen(fd, mode, buffering=0)
        self.fileno = self.file.fileno
        self.close = self.file.close

    def recv(self, size):
        return os.read(self.fileno(), size)

    def send(self, data):
        return os.write(self.fileno(), data)


class Pipe(Socket):
    def __init__(self, fd, mode):
        self.sock = PipeEnd(fd, mode)


class Wire:
    def __init__(self, transport):
        self.transport = transport


class Endpoint(Wire):
    def __init__(self, transport, address):
        super().__init__(transport)
        self.address = address


class Stream:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer


class Serving:
    def __init__(self, server, path):
        self.server = server
        self.path = path


class ScriptedExecutor(concurrent.futures.Executor):
    """Runs nothing: the program says when a call has returned."""

    def submit(self, function, *args):
        self.submitted = concurrent.futures.Future()
        return self.submitted

    def take(self):
        call, self.submitted = self.submitted, None
        return call

    def shutdown(self, wait=True, *, cancel_futures=False):
        pass


class World:
    def __init__(self):
        self.executor = ScriptedExecutor()
        self.calls = {}
        self.signals = set()  # those that have a handler
        self.clients = 0  # of all servers, so far
        self.servers = 0  # how many there were: each has a path of its own
        self.objects = []  # all live as long as the program: when upstream's collector finds one is nobody's to say

    def close(self, loop):
        """What has a descriptor closes it: the loop does not run any more."""
        for each in self.objects:
            if isinstance(each, Socket) and each.sock:
                each.sock.close()
            if isinstance(each, Wire) and getattr(each.transport, "_pipe", None):
                each.transport._pipe.close()
        for transport in list(loop._transports.values()):
            if transport._sock:
                transport._sock.close()
        for path in self.paths():
            if os.path.exists(path):
                os.unlink(path)

    def new_path(self):
        self.servers += 1
        return self.paths()[-1]

    def paths(self):
        return [f"/tmp/differential-{os.getpid()}-{i + 1}" for i in range(self.servers)]


def install(SYNC, AWAIT, Unbound, show, describe, make_error):
    """Adds the operations to the tables of interpreter.py."""

    def sync(name):
        return lambda function: SYNC.setdefault(name, function)

    def waits(name):
        return lambda function: AWAIT.setdefault(name, function)

    def find(p, name, kind):
        value = p.names[name]
        if not isinstance(value, kind):
            raise Unbound
        return value

    def find_socket(p, name):
        value = find(p, name, Socket)
        if not value.sock:
            raise Unbound  # closed, or a transport has it
        return value

    def find_pipe(p, name):
        value = find_socket(p, name)
        if not isinstance(value, Pipe):
            raise Unbound
        return value

    async def unless_busy(found, flag, wait):
        """What wait() gives; a second task that waits would take the place of the first."""
        if getattr(found, flag):
            return "busy"
        setattr(found, flag, True)
        try:
            return await wait()
        finally:
            setattr(found, flag, False)

    def name_it(p, name, value):
        p.names[name] = value
        p.world.objects.append(value)

    def data(word):
        if word.startswith("*"):
            return b"x" * min(int("0" + word[1:]), 100_000)
        return word.replace(";", "\n").encode()

    def show_bytes(found):
        return f"{len(found)}:{found[:8].decode()}".replace("\n", ";")

    def descriptor(p, word):
        return int(word) if word[0].isdigit() else find_socket(p, word).sock.fileno()

    # Sockets.

    @sync("=socketpair")
    def make_socketpair(p, act, name, other):
        a, b = socket.socketpair()
        name_it(p, name, Socket(a))
        name_it(p, other, Socket(b))

    @sync("=pipe")
    def make_pipe(p, act, name, other):
        read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        name_it(p, name, Pipe(read, "rb"))
        name_it(p, other, Pipe(write, "wb"))

    @sync("=listener")
    def make_listener(p, act, name):
        sock = socket.socket(socket.AF_UNIX)
        path = p.world.new_path()
        if os.path.exists(path):
            os.unlink(path)
        sock.bind(path)
        sock.listen(100)
        name_it(p, name, Socket(sock, path))

    @sync("=socket")
    def make_socket(p, act, name):
        name_it(p, name, Socket(socket.socket(socket.AF_UNIX)))

    @sync(".shut")
    def shut(p, act, name):
        find_socket(p, name).sock.shutdown(socket.SHUT_WR)

    @sync(".read_now")
    def read_now(p, act, name):
        return show_bytes(find_socket(p, name).sock.recv(100_000))

    @sync(".write_now")
    def write_now(p, act, name, word):
        return str(find_socket(p, name).sock.send(data(word)))

    @waits(".recv")
    async def recv(p, act, name, size):
        found = find_socket(p, name)

        async def wait():
            return show_bytes(await p.loop.sock_recv(found.sock, int(size)))

        return await unless_busy(found, "receives", wait)

    @waits(".sendall")
    async def sendall(p, act, name, word):
        found = find_socket(p, name)

        async def wait():
            return show(await p.loop.sock_sendall(found.sock, data(word)))

        return await unless_busy(found, "sends", wait)

    @waits(".accept")
    async def accept(p, act, name, accepted):
        found = find_socket(p, name)

        async def wait():
            connection, _ = await p.loop.sock_accept(found.sock)
            name_it(p, accepted, Socket(connection))
            return "ok"

        return await unless_busy(found, "receives", wait)

    @waits(".connect")
    async def connect(p, act, name, listener):
        found = find_socket(p, name)
        path = find_socket(p, listener).path

        async def wait():
            return show(await p.loop.sock_connect(found.sock, path or ""))

        return await unless_busy(found, "sends", wait)

    # Transports.

    class Telling:
        """Tells what it is told; then a function of the program is called, if one is named."""

        def __init__(self, p, name, words=()):
            self.p = p
            self.name = name
            self.half = "half" in words
            self.function = words[words.index("on") + 1] if "on" in words[:-1] else None

        def tell(self, event, what=""):
            self.p.log(self.name, 0, event + (f" {what}" if what else ""))
            if self.function:
                self.p.call(self.function, f"{self.function}({event})")

        def connection_made(self, transport):
            self.tell("connection_made")

        def connection_lost(self, error):
            self.tell("connection_lost", describe(error) if error else "None")

        def pause_writing(self):
            self.tell("pause_writing")

        def resume_writing(self):
            self.tell("resume_writing")

    class TellingProtocol(Telling, asyncio.Protocol):
        def data_received(self, found):
            self.tell("data_received", show_bytes(found))

        def eof_received(self):
            self.tell("eof_received")
            return self.half

    class TellingDatagramProtocol(Telling, asyncio.DatagramProtocol):
        def datagram_received(self, found, address):
            self.tell("datagram_received", show_bytes(found))

        def error_received(self, error):
            self.tell("error_received", describe(error))

    @waits("attach")
    async def attach(p, act, name, sock, *words):
        sock = find_socket(p, sock).take()
        transport, _ = await p.loop.create_connection(lambda: TellingProtocol(p, name, words), sock=sock)
        name_it(p, name, Wire(transport))
        return "ok"

    async def attach_pipe(p, connect, name, end, words):
        pipe = find_pipe(p, end).take()
        transport, _ = await connect(lambda: TellingProtocol(p, name, words), pipe.file)
        name_it(p, name, Wire(transport))
        return "ok"

    @waits("read_pipe")
    async def read_pipe(p, act, name, end, *words):
        return await attach_pipe(p, p.loop.connect_read_pipe, name, end, words)

    @waits("write_pipe")
    async def write_pipe(p, act, name, end, *words):
        return await attach_pipe(p, p.loop.connect_write_pipe, name, end, words)

    @waits("datagram")
    async def datagram(p, act, name, *words):
        transport, _ = await p.loop.create_datagram_endpoint(lambda: TellingDatagramProtocol(p, name, words),
                                                             local_addr=("127.0.0.1", 0))
        name_it(p, name, Endpoint(transport, transport.get_extra_info("sockname")))
        return "ok"

    @sync(".sendto")
    def sendto(p, act, name, to, word):
        sender, receiver = find(p, name, Endpoint), find(p, to, Endpoint)
        if not sender.transport._sock:
            return "closed"  # upstream: AttributeError
        return show(sender.transport.sendto(data(word), receiver.address))

    def transport(p, name):
        value = p.names[name]
        if isinstance(value, Stream):
            return value.writer.transport
        if isinstance(value, Endpoint):
            raise Unbound
        return find(p, name, Wire).transport

    def base_transport(p, name):
        value = p.names[name]
        return value.transport if isinstance(value, Endpoint) else transport(p, name)

    @sync(".write")
    def write(p, act, name, word):
        value = p.names[name]
        if isinstance(value, Stream):
            return show(value.writer.write(data(word)))
        return show(transport(p, name).write(data(word)))

    @sync(".writelines")
    def writelines(p, act, name, *words):
        return show(transport(p, name).writelines([data(word) for word in words]))

    @sync(".close")
    def close(p, act, name):
        value = p.names[name]
        if isinstance(value, Serving):
            value.server.close()
        elif isinstance(value, Socket):
            sock = find_socket(p, name).sock
            if sock.fileno() in p.selector.registered:
                return "watched"
            value.take().close()
        else:
            base_transport(p, name).close()

    @sync(".get_write_buffer_limits")
    def get_write_buffer_limits(p, act, name):
        return show(list(transport(p, name).get_write_buffer_limits()))

    @sync(".set_write_buffer_limits")
    def set_write_buffer_limits(p, act, name, high, low):
        transport(p, name).set_write_buffer_limits(int(high), int(low))

    @sync(".set_protocol")
    def set_protocol(p, act, name, label, *words):
        transport(p, name).set_protocol(TellingProtocol(p, label, words))

    for plain in "write_eof can_write_eof pause_reading resume_reading is_reading get_write_buffer_size".split():
        SYNC["." + plain] = lambda p, act, name, plain=plain: show(getattr(transport(p, name), plain)())
    @sync(".is_closing")
    def is_closing(p, act, name):
        return show(base_transport(p, name).is_closing())

    @sync(".abort")
    def abort(p, act, name):
        found = base_transport(p, name)
        pipe = isinstance(found, asyncio.unix_events._UnixWritePipeTransport)
        if pipe and found.is_closing() and not found.get_write_buffer_size():
            return "closing"  # upstream tells the protocol twice that the connection is lost
        return show(found.abort())

    # Streams and servers.

    @waits("open")
    async def open_(p, act, name, sock, limit="16"):
        sock = find_socket(p, sock).take()
        name_it(p, name, Stream(*await asyncio.open_connection(sock=sock, limit=int(limit))))
        return "ok"

    @waits("serve")
    async def serve(p, act, name, function):
        """For each client, `accepted` is the stream, and the coroutine runs."""
        p.functions[function]

        def client_connected(reader, writer):
            name_it(p, "accepted", Stream(reader, writer))
            p.world.clients += 1
            return p.awaitable(function + "()")

        path = p.world.new_path()
        name_it(p, name, Serving(await asyncio.start_unix_server(client_connected, path, limit=16), path))
        return "ok"

    @waits("dial")
    async def dial(p, act, name, server):
        path = find(p, server, Serving).path
        name_it(p, name, Stream(*await asyncio.open_unix_connection(path, limit=16)))
        return "ok"

    @waits(".read")
    async def read(p, act, name, size):
        return show_bytes(await find(p, name, Stream).reader.read(int(size)))

    @waits(".readline")
    async def readline(p, act, name):
        return show_bytes(await find(p, name, Stream).reader.readline())

    @waits(".readexactly")
    async def readexactly(p, act, name, size):
        return show_bytes(await find(p, name, Stream).reader.readexactly(int(size)))

    @waits(".readuntil")
    async def readuntil(p, act, name, separator):
        return show_bytes(await find(p, name, Stream).reader.readuntil(data(separator)))

    @waits(".drain")
    async def drain(p, act, name):
        return show(await find(p, name, Stream).writer.drain())

    @waits(".wait_closed")
    async def wait_closed(p, act, name):
        value = p.names[name]
        if isinstance(value, Serving):
            return show(await value.server.wait_closed())
        return show(await find(p, name, Stream).writer.wait_closed())

    @waits(".serve_forever")
    async def serve_forever(p, act, name):
        return show(await find(p, name, Serving).server.serve_forever())

    @sync(".at_eof")
    def at_eof(p, act, name):
        return show(find(p, name, Stream).reader.at_eof())

    @sync(".is_serving")
    def is_serving(p, act, name):
        return show(find(p, name, Serving).server.is_serving())

    for plain in "close_clients abort_clients".split():
        def end_clients(p, act, name, plain=plain):
            server = find(p, name, Serving).server
            return "several" if p.world.clients > 1 else show(getattr(server, plain)())  # a set decides who is first

        SYNC["." + plain] = end_clients

    # Executors, threads, signals.

    @sync("=call")
    def make_call(p, act, name):
        future = p.loop.run_in_executor(p.world.executor, int)
        p.world.calls[name] = p.world.executor.take()
        p.kept.append(future)
        p.names[name] = future

    def end_call(p, name, end):
        if name not in p.world.calls:
            raise Unbound
        if p.names[name].done():
            return "late"
        end(p.world.calls.pop(name))

    @sync("complete")
    def complete(p, act, name, value):
        return end_call(p, name, lambda call: call.set_result(int(value)))

    @sync("fail")
    def fail(p, act, name, kind, *message):
        return end_call(p, name, lambda call: call.set_exception(make_error(kind, *message)))

    @sync("in_thread")
    def in_thread(p, act, function):
        thread = threading.Thread(target=p.loop.call_soon_threadsafe, args=(p.call, function, function))
        thread.start()
        thread.join()

    def signal_number(name):
        if name not in ("USR1", "USR2"):
            raise Unbound
        return getattr(signal, "SIG" + name)

    @sync("add_signal_handler")
    def add_signal_handler(p, act, name, function):
        p.loop.add_signal_handler(signal_number(name), p.call, function, f"{function}({name})")
        p.world.signals.add(name)

    @sync("remove_signal_handler")
    def remove_signal_handler(p, act, name):
        number = signal_number(name)
        p.world.signals.discard(name)
        return show(p.loop.remove_signal_handler(number))

    @sync("kill")
    def kill(p, act, name):
        number = signal_number(name)
        if name not in p.world.signals:
            return "no handler"
        signal.raise_signal(number)

    return descriptor
