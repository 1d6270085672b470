"""Sends malformed requests, many at a time, and says what came back that is not right."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import Iterator

import grpc
import grpc.aio

from serving.grpc_client import MAX_MESSAGE_BYTES
from tests.serving.malformed import Case

HANGS_S = 120.0
WORKERS = 16


@dataclasses.dataclass
class Report:
    """What came back: {("random bytes", "400"): 7}, and the cases whose status is none that is allowed."""

    statuses: collections.Counter[tuple[str, str]] = dataclasses.field(default_factory=collections.Counter)
    wrong: list[tuple[Case, str]] = dataclasses.field(default_factory=list)

    def add(self, case: Case, status: str) -> None:
        """One came back."""
        self.statuses[f"{case.kind} ({case.way})", status] += 1
        if status not in case.allowed:
            self.wrong.append((case, status))


def send(cases: Iterator[Case], grpc_port: int, rest_port: int) -> Report:
    """Send them all, so many at a time."""
    return asyncio.run(_send(cases, grpc_port, rest_port))


async def _send(cases: Iterator[Case], grpc_port: int, rest_port: int) -> Report:
    report = Report()
    options = [("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]
    async with grpc.aio.insecure_channel(f"localhost:{grpc_port}", options=options) as channel:
        await asyncio.gather(*(_work(cases, _Worker(channel, grpc_port, rest_port), report) for _ in range(WORKERS)))
    return report


async def _work(cases: Iterator[Case], worker: _Worker, report: Report) -> None:
    for case in cases:
        try:
            status = await asyncio.wait_for(worker.status_of(case), HANGS_S)
        except (TimeoutError, asyncio.TimeoutError):
            status = "no answer"
        except OSError as error:  # there is no server any more
            status = f"no connection: {error.strerror}"
        report.add(case, status)
    worker.close()


class _Worker:
    """One request at a time, on connections that are kept."""

    def __init__(self, channel: grpc.aio.Channel, grpc_port: int, rest_port: int) -> None:
        self._channel, self._ports = channel, {"grpc_bytes": grpc_port, "http_bytes": rest_port, "http": rest_port}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def status_of(self, case: Case) -> str:
        if case.way == "call":
            return await self._call(case)
        return await (self._http(case) if case.way == "http" else self._bytes(case))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def _call(self, case: Case) -> str:
        try:
            await self._channel.unary_unary(case.path)(case.body)
        except grpc.RpcError as error:
            return str(error.code().name)  # type: ignore[attr-defined]
        return "OK"

    async def _http(self, case: Case) -> str:
        if self._streams is None:
            self._streams = await asyncio.open_connection("localhost", self._ports[case.way])
        reader, writer = self._streams
        fields = "".join(f"{name}: {value}\r\n" for name, value in case.headers)
        head = f"{case.path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {len(case.body)}\r\n\r\n"
        try:
            writer.write(head.encode() + case.body)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n\r\n")
            fields_of = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if line)
            if not case.path.startswith("HEAD"):
                await reader.readexactly(int(fields_of.get(b"content-length", 0)))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return "closed"
        if fields_of.get(b"connection") == b"close":
            self.close()
        return answer.split(b" ", 2)[1].decode()

    async def _bytes(self, case: Case) -> str:
        """Send, say that nothing follows, and wait until the server has ended the connection, too."""
        reader, writer = await asyncio.open_connection("localhost", self._ports[case.way])
        answer = b""
        try:
            writer.write(case.body)
            writer.write_eof()
            answer = await reader.read()
        except OSError:  # it was faster
            pass
        finally:
            writer.close()
        return answer.split(b" ", 2)[1].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"
