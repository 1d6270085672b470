"""HTTP/1.1 for a load of requests that are ready: a call costs its process less than one over gRPC."""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


class RefusedError(Exception):
    """An answer other than 200, whole."""


class Connection(asyncio.Protocol):
    """One, which is asked again when it has answered."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: Any = None
        self._answer: asyncio.Future[bytes] | None = None

    async def ask(self, request: bytes) -> bytes:
        """A request of `post` -> the body of the answer.

        Raises:
            RefusedError: the server said no.
            ConnectionError: it said nothing.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        head = self._received.find(_HEAD_END)
        found = _LENGTH.search(self._received, 0, head) if head >= 0 else None
        if found is None or self._answer is None:
            return
        end = head + len(_HEAD_END) + int(found[1])
        if len(self._received) < end:
            return
        answer, self._received = self._received[:end], self._received[end:]
        if b" 200 " in answer[: answer.index(b"\r\n")]:
            self._answer.set_result(answer[head + len(_HEAD_END) :])
        else:
            self._answer.set_exception(RefusedError(answer.decode("utf-8", "replace")))

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"the connection was closed: {error}"))


async def connect(address: str) -> Connection:
    """To http://HOST:PORT."""
    parts = urllib.parse.urlsplit(address)
    _, connection = await asyncio.get_running_loop().create_connection(Connection, parts.hostname, parts.port)
    return connection


def post(path: str, body: bytes) -> bytes:
    """The whole request."""
    return f"POST {path} HTTP/1.1\r\nHost: server\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
