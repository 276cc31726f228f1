"""A server on loopback that sends any bytes."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Raw:
    """A server that sends the bytes it is told to, then again and again `more`, then shuts."""

    def __init__(self) -> None:
        self.answer, self.more = b"", b""
        self.asked: list[bytes] = []
        self.sent = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection, suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        said = b""
        while b"\r\n\r\n" not in said and (part := connection.recv(4096)):
            said += part
        self.asked.append(said)
        connection.sendall(self.answer)
        self.sent += len(self.answer)
        while self.more:
            self.sent += connection.send(self.more)
        connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        # `close` alone leaves the thread in `accept`.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)
