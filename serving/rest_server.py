"""The HTTP server below the REST API: uvicorn, for connections, keep-alive and draining."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import memory
from serving.rest import RestApi

KEEP_ALIVE_S = 120
MAX_HEAD_BYTES = 2**16  # of a request's line and headers

Message = dict[str, Any]


class _Connection(HttpToolsProtocol):
    """Uvicorn's, which would keep a head that does not end as far as it comes."""

    _head_bytes = 0  # so far, of a head that has begun
    _in_head = False

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response(f"The head of the request is longer than {MAX_HEAD_BYTES} bytes.")


class RestServer:
    """Listens from `start` on, in a thread of its own."""

    def __init__(self, api: RestApi, drain_timeout_s: int) -> None:
        self._api = api
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            loop="uvloop",
            http=_Connection,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=drain_timeout_s,
            server_header=False,
            proxy_headers=False,  # nobody asks who the client is
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self, port: int) -> None:
        """Open the port, of IPv6 and IPv4; OSError names it if it cannot be opened."""
        listener = _listen(port)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a kept connection waits 40 ms a response
        self._thread = threading.Thread(target=self._server.run, args=[[listener]], name="rest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accept nothing new, let the requests in flight finish, close idle connections."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._api.close()

    async def _app(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        path = (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode("latin-1")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        response = await self._api.answer(scope["method"], path, headers, bytes(body))
        fields = {**response.headers, "Content-Length": str(len(response.body))}
        names = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": names})
        await send({"type": "http.response.body", "body": response.body})
        memory.ended(len(body))


def _listen(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=2048)
    except OSError as error:  # a kernel may know IPv6 and yet have no address of it
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"REST cannot listen on port {port}: is it taken?") from error
    try:
        return socket.create_server(("0.0.0.0", port), backlog=2048)
    except OSError as error:
        raise OSError(f"REST cannot listen on port {port}: {error.strerror}") from error
