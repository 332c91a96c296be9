from servers import Redis

SERVER = Redis
OUTPUT = """\
SET name Ada: OK
GET name: Ada
GET missing: nil
DEL list count: 0
RPUSH list a b c: 3
LRANGE list 0 -1: a b c
INCR name: ERR value is not an integer or out of range
LPUSH name x: WRONGTYPE Operation against a key holding the wrong kind of value
INCRBY count 42: 42
BLPOP nothing 0.1: nil
BLPOP, and nobody waits so long: TimeoutError
PING: PONG
refused: ConnectionError
"""


def test_every_command_ends_when_the_server_is_killed(run):
    assert run.killed(Redis) == {"ConnectionError"}


def test_a_mute_server_is_a_timeout(run):
    with Redis() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "TimeoutError\n"


def test_cancelled_commands_leave_the_connection_in_step(run):
    with Redis() as server:
        assert run(server.port, "cancel") == "wrong: 0, cancelled some: 1\n"
