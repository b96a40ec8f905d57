"""A StatsD server that remembers the names of the metrics it is told."""

import contextlib
import socket
import threading


class StatsdListener(threading.Thread):
    """Listens on a free UDP port of loopback."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.seen: set[str] = set()

    def run(self) -> None:
        """Collect until closed."""
        with contextlib.suppress(OSError):
            while True:
                for line in self._socket.recv(65536).decode(errors="replace").splitlines():
                    series, _, value = line.rpartition(":")
                    name, *tags = series.split(",")
                    kind = value.split("|")[1]
                    self.seen.add(",".join([name, kind, *sorted(tag.partition("=")[0] for tag in tags)]))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
