"""A server's processes while they are measured: started on a core of their own, asked for CPU time and memory, stopped.

Figures are read from Linux's /proc, for the process that was started and all its descendants, since some servers serve
in a child. CPU time includes every thread.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ServerFailedError(Exception):
    """The server did not start, or answered wrongly."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def raise_descriptor_limit() -> int:
    """Lets this process, and those it starts, open as many files as the system allows; returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((65536, max(hard, 65536)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):
            continue
        return limits[0]
    return soft


class ServerProcess:
    """One started server; a context manager that stops it.

    :param command: the command line.
    :param core: the CPU that it is pinned to, or None.
    :param directory: where it runs: the folder with the apps.
    """

    def __init__(
        self, command: Sequence[str], port: int, *, core: int | None, directory: Path, env: Mapping[str, str]
    ) -> None:
        self.port = port
        self.started_at = time.perf_counter()
        # Errors go to a file, so that a server that does not start can be heard.
        self._errors = directory / f"stderr-{port}"
        with self._errors.open("wb") as errors, open(os.devnull, "wb") as nowhere:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=nowhere,
                stderr=errors,
                start_new_session=True,
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def wait_ready(self, path: str = "/", *, timeout_s: float = 20.0) -> float:
        """Asks until there is an answer with status 200; returns the seconds since the process was started.

        :raises ServerFailedError: the process ended, or the time is over.
        """
        deadline = self.started_at + timeout_s
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n\r\n".encode()
        while time.perf_counter() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as client:
                    client.sendall(head)
                    if client.recv(4096).startswith(b"HTTP/1.1 200"):
                        return time.perf_counter() - self.started_at
            except OSError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.0005)
        raise ServerFailedError(self.complaint() or "did not answer")

    def complaint(self) -> str:
        """The last line that the server wrote to stderr."""
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def cpu_s(self) -> float:
        """CPU time used until now, user and system, by all processes and threads."""
        return sum(_cpu_ticks(pid) for pid in self._pids()) / _TICKS_PER_S

    def run_time_s(self) -> float:
        """CPU time used until now by the threads that run, to the nanosecond; ``cpu_s`` counts ticks of 10 ms."""
        total = 0
        for pid in self._pids():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e9

    def is_asleep(self) -> bool:
        """Returns whether the server's main thread waits, which means that it has read everything sent so far."""
        return _stat(self._process.pid)[0] == "S"

    def peak_rss_bytes(self) -> int:
        """Most resident memory since the last :meth:`forget_peak`, of the process that was started."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024

    def forget_peak(self) -> None:
        """Sets the peak to what is resident now."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def rss_bytes(self) -> int:
        """Resident memory of all processes."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._pids()) * _PAGE_BYTES

    def pss_bytes(self) -> int:
        """Memory of all processes, what they share counted once (PSS in proc_pid_smaps(5))."""
        total = 0
        for pid in self._pids():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total * 1024

    def signal(self, number: int) -> None:
        """Sends a signal to the process that was started."""
        self._process.send_signal(number)

    def end(self, *, timeout_s: float = 30.0) -> int | None:
        """Asks it to end; its exit code, or None when it does not in time."""
        self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """Asks it to end, and ends it after five seconds."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                _signal_group(self._process.pid, number)
                try:
                    self._process.wait(5.0)
                except subprocess.TimeoutExpired:
                    continue
        # What is left of its session, such as a worker whose master is gone.
        _signal_group(self._process.pid, signal.SIGKILL)
        self._errors.unlink(missing_ok=True)

    def _pids(self) -> list[int]:
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int(_stat(int(entry.name))[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue
        family = [self._process.pid]
        for pid in family:
            family += [child for child, parent in parents.items() if parent == pid]
        return family


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the name before it may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu_ticks(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12])
