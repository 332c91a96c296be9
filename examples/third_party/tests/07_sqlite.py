SERVER = None
OUTPUT = """\
Ada 1903 None
Barbara 1907 None
Grace 1905 None
SELEKT 1: OperationalError: near "SELEKT": syntax error
SELECT * FROM nowhere: OperationalError: no such table: nowhere
INSERT INTO people VALUES ('Ada', 1815): IntegrityError: UNIQUE constraint failed: people.name
a slow statement: TimeoutError; the loop went on: 1; people, at once: 3 1
a file that cannot be: OperationalError
"""


def test_cancelled_statements_free_the_thread(run):
    assert run(0, "cancel") == "wrong: 0, cancelled some: 1, soon: 1\n"
