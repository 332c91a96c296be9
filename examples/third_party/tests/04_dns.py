from servers import Dnsmasq

SERVER = Dnsmasq
OUTPUT = """\
one.test: 1, the first is 10.0.0.1
two.test: 1, the first is 10.0.0.2
missing.test: Domain name not found
big.test: 60, the first is 10.2.0.1
1000 queries: 1 address, 10.1.1.1
silent.test: Timeout while contacting DNS servers
after both tries
and if we do not wait so long: TimeoutError
one.test: Could not contact DNS servers
"""


def test_killed_while_it_is_asked(run):
    assert run.killed(Dnsmasq) == {"DNSError"}


def test_mute_server_is_an_error_of_the_library(run):
    with Dnsmasq() as server, run.started(server.port, "killed") as program:
        assert program.line() == "asking"
        server.pause()
        assert program.rest() == "DNSError\n"


def test_cancelled_queries_do_not_disturb_the_others(run):
    with Dnsmasq() as server:
        assert run(server.port, "cancel") == "wrong: 0, cancelled some: 1\n"
