from servers import H2StandIn, Nghttpd

SERVER = Nghttpd
OUTPUT = """\
/hello.txt: 200, 6 bytes
/missing: 404
100 at once: 1 outcome, 200, 6 bytes
/hello.txt: 200, 6 bytes
and then the large one: 5000000 bytes
given up: TimeoutError
/hello.txt: 200, 6 bytes
"""


def test_an_unread_stream_fills_its_window_and_no_more(run):
    with Nghttpd() as server:
        assert run(server.port, "window") == "unread: 65535 bytes\n"


def test_reset_streams_and_a_broken_connection(run):
    with H2StandIn() as server:
        assert run(server.port, "reset") == (
            "reset: StreamReset; the other stream: 200, 6 bytes\n"
            "cut off: ConnectionError ConnectionError ConnectionError\n")


def test_killed_while_it_is_asked(run):
    assert run.killed(Nghttpd) == {"ConnectionError"}


def test_mute_server_is_a_timeout(run):
    with Nghttpd() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "TimeoutError\n"


def test_cancelled_requests_do_not_disturb_the_others(run):
    with Nghttpd() as server:
        assert run(server.port, "cancel") == "wrong: 0, cancelled some: 1\n"
