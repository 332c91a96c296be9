from servers import Postgres

SERVER = Postgres
OUTPUT = """\
Ada 1903 null
Barbara 1907 null
Grace 1905 null
SELEKT 1: 42601
SELECT * FROM nowhere: 42P01
SELECT 1/0: 22012
INSERT INTO people VALUES ('Ada'): 23505
pg_sleep(60): TimeoutError; servers that sleep on: 0; the same connection: 1
terminated: yes; closed: 1
nobody listens: refused
"""


def test_pipeline(run):
    with Postgres() as server:
        assert run(server.port, "pipeline") == "1 2 3 200 of 100000\n22012 TimeoutError 7\n"


def test_killed_while_it_is_asked(run):
    errors = run.killed(Postgres, delays=(0.0, 0.05))
    # A server's process that loses its parent may still say so: that is a PostgresError.
    assert errors <= {"ConnectionError", "PostgresError"}, errors


def test_mute_server_is_a_timeout(run):
    with Postgres() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "TimeoutError\n"


def test_cancelled_queries_leave_the_connection_in_step(run):
    with Postgres() as server:
        assert run(server.port, "cancel") == "wrong: 0, cancelled some: 1\n"
