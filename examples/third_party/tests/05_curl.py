from servers import HttpExample, OpenSSL

SERVER = HttpExample
OUTPUT = """\
a page: 200, 6 bytes
50 pages: 1 outcome, 200, 6 bytes; together: 1
nobody listens: refused
an answer that breaks off: cut off
a redirect to itself: too many redirects
no answer: TimeoutError
connections that the server saw end: 1
and another page: 200, 6 bytes
"""


def test_bad_certificate(run):
    with OpenSSL() as server:
        assert run(server.port, "certificate") == "unknown authority: bad certificate\n"


def test_killed_while_it_is_asked(run):
    assert run.killed(HttpExample) == {"CurlError"}


def test_mute_server_is_a_timeout(run):
    with HttpExample() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "TimeoutError\n"


def test_cancelled_transfers_do_not_disturb_the_others(run):
    with HttpExample() as server:
        assert run(server.port, "cancel") == "wrong: 0, cancelled some: 1\n"
