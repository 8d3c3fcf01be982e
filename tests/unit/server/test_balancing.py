"""Balancing: the worker with the fewest connections accepts the next, and no connection is left waiting."""

import os
import signal
import socket
import time
from collections import Counter
from contextlib import ExitStack

import gevent

from smtpgw.server.balancing import UNUSED, BalancedServer, ConnectionCounts, ConnectionShare
from tests.chaos.ledger import of_worker, workers
from tests.support.gateway import Gateway
from tests.support.line import metric

TIMEOUT_SECONDS = 30


def test_a_worker_has_a_place_until_it_leaves():
    counts = ConnectionCounts(1)
    first, second = counts.join(), counts.join()
    first.add(2)
    second.add(1)
    assert list(counts.slots) == [2, 1]
    assert first.is_larger_than_another
    assert not second.is_larger_than_another
    second.leave()
    assert not first.is_larger_than_another, "nothing is left to a worker that drains"
    second.add(-1)
    assert list(counts.slots) == [2, UNUSED]
    third = counts.join()
    assert list(counts.slots) == [2, 0]
    assert first.is_larger_than_another
    assert not third.is_larger_than_another


def test_a_worker_without_a_place_leaves_connections_to_others_and_they_none_to_it():
    counts = ConnectionCounts(1)
    first, _, third = counts.join(), counts.join(), counts.join()
    third.add(1)
    assert list(counts.slots) == [0, 0]
    assert third.is_larger_than_another
    assert not first.is_larger_than_another


def test_a_count_is_seen_by_another_process():
    share, other = (counts := ConnectionCounts(1)).join(), counts.join()
    child = os.fork()
    if not child:
        other.add(7)
        os._exit(0)
    os.waitpid(child, 0)
    assert list(counts.slots) == [0, 7]
    assert not share.is_larger_than_another


class Workers:
    """Several servers in one process that listen on one socket."""

    def __init__(self, *shares: ConnectionShare) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.clients = []
        self.servers = [BalancedServer(self.listener.dup(), self.serve, share=share) for share in shares]
        for server in self.servers:
            server.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in (*self.clients, *self.servers, self.listener):
            one.close()

    @staticmethod
    def serve(client, _address):
        client.sendall(b"220")
        client.recv(1)

    def connect(self):
        client = socket.create_connection(self.listener.getsockname(), TIMEOUT_SECONDS)
        self.clients.append(client)
        assert client.recv(10) == b"220"


def test_connections_that_come_one_by_one_are_shared():
    counts = ConnectionCounts(2)
    with Workers(*(counts.join() for _ in range(4))) as both:
        for _ in range(40):
            both.connect()
        assert list(counts.slots) == [10] * 4
        for client in both.clients[:20]:
            client.close()
        gevent.sleep(0.1)
        assert sum(counts.slots) == 20
        for _ in range(20):
            both.connect()
        assert list(counts.slots) == [10] * 4


def test_who_has_more_takes_what_nobody_comes_for():
    counts = ConnectionCounts(1)
    alone, _stuck = counts.join(), counts.join()
    with Workers(alone) as one:
        for _ in range(5):
            one.connect()
        assert list(counts.slots) == [5, 0]


def test_a_server_that_was_closed_in_the_moment_takes_nothing():
    counts = ConnectionCounts(1)
    alone, _stuck = counts.join(), counts.join()
    alone.add(1)
    with Workers(alone) as one, socket.create_connection(one.listener.getsockname()):
        server = one.servers[0]
        while server._timer is None:
            gevent.sleep(0)
        server.close()
        gevent.sleep(0.1)
        assert list(counts.slots) == [1, 0]


def test_a_tree_of_two_workers_and_one_that_comes_in_the_place_of_a_killed_one(sandbox, tmp_path):
    with Gateway(sandbox.url, tmp_path, SMTPGW_WORKERS="2") as gateway, ExitStack() as clients:
        wait_until(lambda: metric(gateway, "smtpgw_workers") == 2)
        first = [clients.enter_context(gateway.client()) for _ in range(20)]
        killed, stays = workers(gateway)
        assert Counter(of_worker(gateway, client) for client in first) == {killed: 10, stays: 10}
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in workers(gateway) and metric(gateway, "smtpgw_workers") == 2)
        then = [clients.enter_context(gateway.client()) for _ in range(10)]
        # None, but what may have come in the moment before the new one listened.
        assert Counter(of_worker(gateway, client) for client in then)[stays] <= 2


def wait_until(holds):
    end = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
