from servers import OpenSSL

SERVER = OpenSSL
OUTPUT = """\
openssl s_server says: hello!
wrong name: SSLCertVerificationError
unknown authority: SSLCertVerificationError
a peer that does not encrypt: SSLError
a mute peer: OSError 103
a peer that hangs up: OSError 104
our server echoes 5 MB: 1
after close: 0 bytes, and no error
220 go ahead, then encrypted: a secret
"""


def test_cut_off_without_a_farewell_is_an_error(run):
    with OpenSSL() as server:  # for its certificates
        assert run(server.port, "cut") == "SSLEOFError\n"  # asyncio's streams just end here


def test_killed_while_it_is_asked(run):
    errors = run.killed(OpenSSL)
    assert errors <= {"SSLEOFError", "OSError 104", "OSError 32"}, errors


def test_mute_server_is_a_timeout(run):
    with OpenSSL() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "TimeoutError\n"


def test_cancelled_handshakes_do_not_disturb_the_server(run):
    with OpenSSL() as server:
        assert run(server.port, "cancel") == "cancelled some: 1, still there\n"
