#!/usr/bin/env python3
"""Starts a server on a free port of the loopback, with a directory of its own, waits until it answers, stops it, and
leaves nothing. A program of root's starts it as nobody. By hand: servers.py redis, then Ctrl-C."""
import atexit
import ctypes
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable  # it has apt's packages
FOLDERS = os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/sbin"]
PR_SET_PDEATHSIG = 1


class Missing(Exception):
    """The server is not installed."""


class Skipped(Exception):
    """A test cannot run here; says why."""


def find(name, *folders):
    path = shutil.which(name, path=":".join([*folders, *FOLDERS]))
    if path is None:
        raise Missing(f"there is no {name} here (make third-party-deps)")
    return path


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    """Even a test driver that is killed leaves no server behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def descendants(pid):
    """The process and all that it has started; none once it was waited for."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                parents[int(entry)] = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    family = [pid] if pid in parents else []
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


class Server:
    """Derive, and say what to start and how to ask whether it answers. `with Redis() as server: server.port`."""

    name = ""  # as servers.py and the table call it
    patience = 15  # seconds until it must answer
    stop_signal = signal.SIGTERM
    environment: dict[str, str] = {}  # what its clients need to know besides the port

    def command(self) -> list[str]:
        raise NotImplementedError

    def prepare(self):
        """Before the start: writes files into self.directory."""

    def answers(self) -> bool:
        """Whether it can be used; an OSError means no."""
        socket.create_connection(("127.0.0.1", self.port), 1).close()
        return True

    @classmethod
    def version(cls) -> str:
        raise NotImplementedError

    def __enter__(self):
        for attempt in range(3):  # another program may have taken the port between our look and the server's
            self.port = free_port()
            self.directory = tempfile.mkdtemp(prefix="third-party-")
            self.account = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
            if os.getuid() != 0:
                self.account = {}
            self.give(self.directory)
            try:
                self.prepare()
                self.start()
                os.environ.update(self.environment)
                return self
            except BaseException as error:
                self.__exit__()
                if not isinstance(error, TimeoutError) or attempt == 2:
                    raise

    def give(self, path):
        """The server may read and write this file or directory."""
        if self.account:
            shutil.chown(path, "nobody", self.account["group"])

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        self.give(path)
        return path

    def start(self):
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent, **self.account)
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.answers():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise TimeoutError(f"{self.name} does not answer: {open(self.log, errors='replace').read()[-2000:]}")

    def signal(self, signum):
        """To the server and its children, which may be in groups of their own."""
        for pid in descendants(self.process.pid):
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                pass

    def kill(self):
        """It ends at once, and its connections with it."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        """It keeps its connections, and answers nothing."""
        self.signal(signal.SIGSTOP)

    def go_on(self):
        self.signal(signal.SIGCONT)

    def __exit__(self, *_):
        if getattr(self, "process", None) is not None:
            self.go_on()
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
            self.kill()
            self.process = None
        shutil.rmtree(self.directory, ignore_errors=True)


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


def number(text):
    return re.search(r"\d+(\.\d+)+", text)[0]


class Memcached(Server):
    name = "memcached"

    def command(self):
        return [find("memcached"), "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-t", "1"]

    @classmethod
    def version(cls):
        return number(output(find("memcached"), "-V"))


class Redis(Server):
    name = "redis"

    def command(self):
        return [find("redis-server"), "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]

    def answers(self):
        with socket.create_connection(("127.0.0.1", self.port), 1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(100) == b"+PONG\r\n"

    @classmethod
    def version(cls):
        return number(output(find("redis-server"), "--version"))


class Dnsmasq(Server):
    """Knows one.test, two.test, every name under many.test, and big.test, whose answer is too long for UDP."""

    name = "dnsmasq"

    def prepare(self):
        lines = ["host-record=one.test,10.0.0.1", "host-record=two.test,10.0.0.2", "address=/many.test/10.1.1.1",
                 "local=/test/", *[f"host-record=big.test,10.2.0.{i}" for i in range(1, 61)]]
        self.configuration = self.write("dnsmasq.conf", "\n".join(lines) + "\n")

    def command(self):
        return [find("dnsmasq"), "--keep-in-foreground", f"--conf-file={self.configuration}", f"--port={self.port}",
                "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts", "--cache-size=0",
                f"--pid-file={self.directory}/pid", "--user="]

    def answers(self):
        question = b"\3one\4test\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            client.connect(("127.0.0.1", self.port))
            client.send(b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + question)
            return client.recv(512)[:2] == b"\x12\x34"

    @classmethod
    def version(cls):
        return number(output(find("dnsmasq"), "--version"))


class Postgres(Server):
    """The user postgres needs no password. The first one of a run makes the data directory, the others copy it."""

    name = "postgres"
    stop_signal = signal.SIGINT  # does not wait for its clients
    template = None

    @staticmethod
    def program(name):
        return find(name, *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True))

    def prepare(self):
        if Postgres.template is None:
            made = f"{self.directory}/template"
            command = [self.program("initdb"), "-D", made, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync"]
            done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, **self.account)
            if done.returncode:
                raise RuntimeError(f"initdb: {done.stderr}")
            Postgres.template = tempfile.mkdtemp(prefix="third-party-initdb-")
            atexit.register(shutil.rmtree, Postgres.template, ignore_errors=True)
            subprocess.run(["cp", "-a", made, Postgres.template], check=True)
        subprocess.run(["cp", "-a", f"{Postgres.template}/template", f"{self.directory}/data"], check=True)

    def command(self):
        settings = ["fsync=off", "shared_buffers=8MB", "max_connections=20", "dynamic_shared_memory_type=mmap", "autovacuum=off",
                    "listen_addresses=127.0.0.1", f"unix_socket_directories={self.directory}", "max_wal_senders=0",
                    "max_logical_replication_workers=0"]
        return [self.program("postgres"), "-D", f"{self.directory}/data", "-p", str(self.port)] + [
            word for setting in settings for word in ("-c", setting)]

    def answers(self):
        return "accepting" in output(self.program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-t", "1").replace(
            "rejecting", "")

    def kill(self):
        """Also its segment of System V memory, which nobody else would remove."""
        segment = None
        try:
            with open(f"{self.directory}/data/postmaster.pid") as file:
                segment = file.read().splitlines()[6].split()[1]
        except (OSError, IndexError):
            pass  # it has ended by itself, and removed both
        super().kill()
        if segment:
            subprocess.run(["ipcrm", "-m", segment], capture_output=True)

    @classmethod
    def version(cls):
        return number(output(cls.program("postgres"), "--version"))


class OpenSSL(Server):
    """Sends every line back, reversed, over TLS. CERTIFICATES is a directory with the certificate of the server "localhost",
    its key, and the authority's certificate that it is signed with."""

    name = "openssl"

    def prepare(self):
        def openssl(*words):
            command = [find("openssl"), *words]
            subprocess.run(command, cwd=self.directory, check=True, capture_output=True, **self.account)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
        openssl("req", *key, "-keyout", "server.key", "-out", "request", "-subj", "/CN=localhost")
        names = self.write("names", "subjectAltName=DNS:localhost\n")
        openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", names, "-out", "server.pem")
        os.chmod(self.directory, 0o755)
        self.environment = {"CERTIFICATES": self.directory}

    def command(self):
        return [find("openssl"), "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", "server.pem", "-key", "server.key",
                "-rev", "-quiet"]

    @classmethod
    def version(cls):
        return number(output(find("openssl"), "version"))


class HttpExample(Server):
    """Our own server_async2, which make third-party builds: /quick answers at once, all else after 0.1 s."""

    name = "server_async2"

    def command(self):
        return [find("server_async2", os.path.join(os.environ.get("BUILD", "build/g++"), "examples/http")), str(self.port)]

    @classmethod
    def version(cls):
        return "(ours)"


class PythonServer(Server):
    """A script of ours that uses a module of apt's."""

    script = module = ""

    def command(self):
        return [PYTHON, f"{HERE}/tests/{self.script}", str(self.port)]

    @classmethod
    def version(cls):
        told = output(PYTHON, "-c", f"import {cls.module} as module; print(module.__version__)")
        if "ModuleNotFoundError" in told:
            raise Missing(f"there is no Python module {cls.module} here (make third-party-deps)")
        return number(told)


class WebSockets(PythonServer):
    name, script, module = "websockets", "websocket_server.py", "websockets"


class Mongo(PythonServer):
    """Stands in for MongoDB, of which Debian has no package."""

    name, script, module = "mongo_server.py, bson", "mongo_server.py", "pymongo"

    @classmethod
    def version(cls):
        return number(output(PYTHON, "-c", "import pymongo; print(pymongo.version)"))


class H2StandIn(PythonServer):
    """An HTTP/2 server that misbehaves."""

    name, script, module = "h2_server.py, h2", "h2_server.py", "h2"


class Nghttpd(Server):
    """HTTP/2 without TLS: hello.txt, and large.bin of five million bytes."""

    name = "nghttpd"

    def prepare(self):
        self.write("hello.txt", "hello\n")
        self.write("large.bin", "x" * 5_000_000)

    def command(self):
        return [find("nghttpd"), "--no-tls", "--htdocs", self.directory, "--address", "127.0.0.1", str(self.port)]

    @classmethod
    def version(cls):
        return number(output(find("nghttpd"), "--version"))


SERVERS = {server.__name__.lower(): server for server in Server.__subclasses__() + PythonServer.__subclasses__()
           if server is not PythonServer}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SERVERS:
        sys.exit(f"usage: servers.py {'|'.join(SERVERS)}")
    with SERVERS[sys.argv[1]]() as running:
        told = "".join(f" {name}={value}" for name, value in running.environment.items())
        print(f"{running.name} {running.version()} on port {running.port}{told}; Ctrl-C stops it", flush=True)
        try:
            running.process.wait()
        except KeyboardInterrupt:
            print()
