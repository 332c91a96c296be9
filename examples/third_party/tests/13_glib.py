SERVER = None
OUTPUT = """\
20 sleeps of ours, and GLib's timer ticked: 1
a future: set in an idle callback
our sockets, polled by GLib: hello
a file, by GIO: 1
no such file: Error
a callback of GLib's computes; our tasks wait: 1
a task computes; GLib's timer waits: 1
a thread computes: 1; GLib's timer ticks on: 1
"""


def test_cancelled_operations_of_glib_do_no_harm(run):
    assert run(0, "cancel") == "wrong: 0, cancelled some: 1\n"
