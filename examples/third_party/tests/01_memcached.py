from servers import Memcached

SERVER = Memcached
OUTPUT = """\
greeting: good morning
missing: nothing
count + 2: 42
deleted: 1, again: 0
name + 1: CLIENT_ERROR cannot increment or decrement non-numeric value
two commands in one key: ValueError; name: Ada
cut off after 0 bytes: IncompleteReadError
cut off after 14 bytes: IncompleteReadError
cut off after 21 bytes: IncompleteReadError
half a reply: TimeoutError, and then: NotConnected
"""


def test_killed_while_it_is_asked(run):
    errors = run.killed(Memcached)
    assert errors <= {"IncompleteReadError", "OSError 104", "OSError 32"}, errors


def test_mute_server_is_a_timeout(run):
    with Memcached() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "TimeoutError\n"
