SERVER = None
OUTPUT = """\
ID? thermometer, series 7
TEMP? 21.5
NOISE? 21.5
SLOW? and nobody waits so long: TimeoutError
TEMP? 21.5
lines that nobody waited for: 2
the cable is pulled: Disconnected, and then: Disconnected
"""


def test_cancelled_commands_leave_the_line_in_step(run):
    assert run(0, "cancel") == "wrong: 0, cancelled some: 1\n"
