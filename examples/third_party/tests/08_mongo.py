import os

from servers import Mongo, Skipped

SERVER = Mongo
OUTPUT = """\
inserted 3: Ada Barbara Grace
100 askers at once: 100 get their own answer
ok: 0: 59 as you wished
a slow command: TimeoutError; the next one: mine
wrong length: ProtocolError
"""


def test_a_real_server(run):
    if "MONGODB" not in os.environ:
        raise Skipped("a real server: MONGODB=host:port names one, Debian has none")
    assert run(0, "real") == "inserted 3: Ada Barbara Grace\n"


def test_a_wrong_frame_is_the_end_for_everybody(run):
    wrong = ["7", "2000000000", "-1", '"opcode"', '"document"', '"section"']
    expected = [f"{frame}: ProtocolError ProtocolError ConnectionError" for frame in wrong]
    expected.append('"cut": ConnectionError ConnectionError ConnectionError')
    with Mongo() as server:
        assert run(server.port, "poisoned").splitlines() == expected


def test_killed_while_it_is_asked(run):
    assert run.killed(Mongo) == {"ConnectionError"}


def test_mute_server_is_a_timeout(run):
    with Mongo() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "TimeoutError\n"


def test_cancelled_commands_leave_the_connection_in_step(run):
    with Mongo() as server:
        assert run(server.port, "cancel") == "wrong: 0, cancelled some: 1\n"
