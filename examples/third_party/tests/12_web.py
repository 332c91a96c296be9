import contextlib
import re
import signal
import socket

SERVER = None
NEEDS = ["wrk"]
OUTPUT = """\
GET /: 200 {"message":"hello"}
POST /people {"born": 1906, "name": "Grace Hopper"}: 201 {"born":1906,"name":"Grace Hopper"}
POST /people {"born": 1815, "name": "Ada"}: 201 {"born":1815,"name":"Ada"}
GET /people: 200 [{"born":1815,"name":"Ada"},{"born":1906,"name":"Grace Hopper"}]
GET /people/Grace%20Hopper: 200 {"born":1906,"name":"Grace Hopper"}
DELETE /people/Ada: 401 {"error":"401 Unauthorized"}
DELETE /people/Ada: 200 {"removed":"Ada"}
POST /people {"born": 1906, "name": "Grace Hopper"}: 409 {"error":"409 Conflict"}
POST /people {"born": 1906, "name: 400 {"error":"400 Bad Request"}
POST /people {"born": "long ago"}: 422 {"error":"422 Unprocessable Entity"}
GET /people/Nobody: 404 {"error":"404 Not Found"}
GET /nowhere: 404 {"error":"404 Not Found"}
PUT /people: 405 {"error":"405 Method Not Allowed"}
GET /broken: 500 {"error":"500 Internal Server Error"}
GET /count/1000: 200 {"count":1000}
GET /count/1000000000: 503 {"error":"503 Service Unavailable"}
GET /count/10: 200 {"count":10}
at once: 1
GET /: 200 {"message":"hello"}
who sends byte by byte: 201
who keeps back the last byte: 408
"""


@contextlib.contextmanager
def serving(run):
    """say(bytes): the status codes and the last body that our server answers. At the end it is interrupted."""
    with run.started(0, "serve") as program:
        port = int(re.search(r":(\d+)/$", program.line())[1])

        def say(words):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(words)
                client.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: client.recv(65536), b"")).decode(errors="surrogateescape")
            return re.findall(r"HTTP/1\.1 (\d+)", answer), answer.rpartition("\r\n\r\n")[2]

        say.port = port
        yield say
        program.send_signal(signal.SIGINT)
        assert program.rest() == ""


def post(body, headers=b""):
    return b"POST /people HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (headers, len(body), body)


def test_requests_at_once_on_one_connection(run):
    with serving(run) as say:
        first = post(b'{"name": "Ada", "born": 1815}', b"Expect: 100-continue\r\n")
        asked = b"GET /people/Ada?again HTTP/1.1\r\n\r\nHEAD /people/Ada HTTP/1.1\r\n\r\nGET /people/Ada HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        assert say(first + asked) == (["100", "201", "200", "200", "200"], '{"born":1815,"name":"Ada"}\n')


def test_whatever_a_stranger_sends_is_answered(run):
    with serving(run) as say:
        for words, status in [
            (b"\x16\x03\x01\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", "431"),
            (b"POST /people HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", "413"),
            (b"POST /people HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501"),
            (b"GET /people/%ff%00%2F%2 HTTP/1.1\r\n\r\n", "404"),
            (b"GET /count/many HTTP/1.1\r\n\r\n", "400"),
            (post(b'{"name": "\xff", "born": 1}'), "400"),
            (post(b"[" * 100000), "400"),
            (post(b"[" * 100000 + b"]" * 100000), "422"),
            (post(b'{"name": "Ada", "born": 1e99}'), "422"),
            (post(b'{"name": "Ada", "born": 18446744073709551615}'), "422"),
            (post(b"17"), "422"),
        ]:
            assert say(words)[0] == [status], (words[:60], say(words))


def test_slow_clients_are_borne_with_for_a_while(run):
    assert run(0, "slow") == (
        '"": 408 408 Request Timeout\n'
        '"GET / HT": 408 408 Request Timeout\n'
        '"GET / HT": 408 408 Request Timeout\n'
        "who does not read is cut off: 1\n"
        'GET /: 200 {"message":"hello"}\n')


def test_clients_that_leave_are_forgotten(run):
    assert run(0, "cancel") == 'still there: 0\nGET /: 200 {"message":"hello"}\nnow they are left: 20\n'


def test_the_server_ends_while_clients_are_there(run):
    with serving(run) as say, contextlib.ExitStack() as clients:
        for words in b"", b"GET / HT", b"GET / HTTP/1.1\r\n\r\n", *[b"GET /count/1000000000 HTTP/1.1\r\n\r\n"] * 5:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", say.port), 10))
            client.sendall(words)
