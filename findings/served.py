"""Helpers that the findings share: a free port, and a third-party server that runs while a finding looks at it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    """Return the path of a command that is installed beside the running Python."""
    return os.path.join(os.path.dirname(sys.executable), name)


@contextlib.contextmanager
def serving(
    argv: Sequence[str], port: int, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; the block starts when ``port`` accepts connections.

    The server ends with the block, however the block ends. Its process group is killed if it has not
    stopped 10 seconds after SIGTERM. Raises TimeoutError if the server does not listen within 30 seconds.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    server = subprocess.Popen(argv, env={**os.environ, **(environ or {})}, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{argv[0]} does not listen")
            time.sleep(0.05)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def exchange(port: int, request: bytes, timeout_s: float = 5) -> bytes:
    """Send bytes on a new connection and return the bytes of the answer, up to its end or the timeout in seconds."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as client:
        client.sendall(request)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while more := client.recv(65536):
                answer += more
    return answer
