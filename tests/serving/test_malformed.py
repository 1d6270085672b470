"""Requests that no client should send: a few of the hundred thousand that `tests/benchmarks/serving.py` sends."""

from __future__ import annotations

import collections

from tests.serving.malformed import LIGHT, cases
from tests.serving.malformed_client import send
from tests.serving.tiny_server import MODEL, Server

COUNT = 25 * len(LIGHT)


def test_whatever_comes_the_server_answers_rightly_and_lives(server: Server) -> None:
    report = send(cases(2, COUNT, MODEL), server.grpc_port, server.rest_port)
    wrong = [(case.kind, case.way, case.path, case.body[:300], status) for case, status in report.wrong]
    assert not wrong
    sent = collections.Counter({kind: 0 for kind, _ in report.statuses})
    for (kind, _), count in report.statuses.items():
        sent[kind] += count
    assert len(sent) == len(LIGHT) and sent.total() == COUNT
    assert server.predict({"inputs": ["one"]})[1]["outputs"]["text"] == ["eins"]
