"""Unary calls of gRPC for a load of requests that are ready: a call costs its process less than one by grpc.aio.

Frames of HTTP/2 (RFC 9113) as gRPC uses them (its PROTOCOL-HTTP2.md), without flow control of what is sent: a request
is one frame.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from tests.benchmarks.light_http import RefusedError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACKNOWLEDGED = 1, 4, 1
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
LARGEST_WINDOW, FIRST_WINDOW, LARGEST_FRAME = 2**31 - 1, 2**16 - 1, 2**14
FRAME_HEAD, MESSAGE_HEAD = 9, 5


class Connection(asyncio.Protocol):
    """One, which may be asked again before it has answered."""

    def __init__(self, method: str, authority: str) -> None:
        self._headers = _header_block(method, authority)
        self._received = bytearray()
        self._transport: Any = None
        self._next_stream = 1
        self._asked: dict[int, _Call] = {}

    async def ask(self, request: bytes) -> bytes:
        """A message -> that of the answer.

        Raises:
            RefusedError: the server said no; its trailers as they came.
            ConnectionError: it said nothing.
        """
        if self._transport.is_closing():
            raise ConnectionError("the connection was closed")
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        call = self._asked[stream] = _Call()
        message = struct.pack(">xI", len(request)) + request
        assert len(message) <= LARGEST_FRAME
        headers = _frame(HEADERS, END_HEADERS, stream, self._headers)
        self._transport.write(headers + _frame(DATA, END_STREAM, stream, message))
        return await call.answer

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol; the server may send as much as it likes, and headers as they are."""
        self._transport = transport
        settings = struct.pack(">HIHI", HEADER_TABLE_SIZE, 0, INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
        window = struct.pack(">I", LARGEST_WINDOW - FIRST_WINDOW)
        transport.write(PREFACE + _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, window))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        received = self._received
        received += data
        begin = 0
        while len(received) >= begin + FRAME_HEAD:
            length, kind, flags, stream = _frame_head(received, begin)
            end = begin + FRAME_HEAD + length
            if len(received) < end:
                break
            self._frame_received(kind, flags, stream, bytes(received[begin + FRAME_HEAD : end]))
            begin = end
        del received[:begin]

    def _frame_received(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (SETTINGS, PING) and not flags & ACKNOWLEDGED:
            self._transport.write(_frame(kind, ACKNOWLEDGED, 0, payload if kind == PING else b""))
        elif kind == GO_AWAY:
            self._transport.close()
        elif kind in (DATA, HEADERS, RESET) and stream in self._asked:
            call = self._asked[stream]
            if kind == DATA:
                call.message += payload
            elif kind == HEADERS:
                call.trailers = payload
            if flags & END_STREAM or kind == RESET:
                del self._asked[stream]
                call.end()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        for call in self._asked.values():
            call.answer.set_exception(ConnectionError(f"the connection was closed: {error}"))
        self._asked.clear()


class _Call:
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.message, self.trailers = b"", b""

    def end(self) -> None:
        """A call that fails ends without a message."""
        if self.message:
            self.answer.set_result(self.message[MESSAGE_HEAD:])
        else:
            self.answer.set_exception(RefusedError(repr(self.trailers)))


async def connect(address: str, method: str) -> Connection:
    """To HOST:PORT, for calls of "/package.Service/Method"."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(method, address), host, int(port))
    return connection


def _header_block(method: str, authority: str) -> bytes:
    """HPACK's plainest form (RFC 7541, 6.2.2): every name and value as it is."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    texts = [text.encode() for pair in headers.items() for text in pair]
    assert all(len(text) < 127 for text in texts)  # longer ones have their length in more than a byte
    written = [bytes([len(text)]) + text for text in texts]
    return b"".join(b"\0" + name + value for name, value in zip(written[::2], written[1::2], strict=True))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _frame_head(received: bytearray, begin: int) -> tuple[int, int, int, int]:
    length_and_kind, flags, stream = struct.unpack_from(">IBI", received, begin)
    return length_and_kind >> 8, length_and_kind & 0xFF, flags, stream
