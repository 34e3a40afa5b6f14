"""The file that says which process is the master."""

from __future__ import annotations

import contextlib
import os

from devserver.errors import ConfigError


class PidFile:
    """Written by :meth:`write`, removed by :meth:`remove` if it is still ours.

    :param path: where.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)
        self._final = self.path

    def write(self, *, beside: bool = False) -> None:
        """Writes the id of this process, at once and as a whole.

        :param beside: an older master has the file: ``.2`` is added to the name until :meth:`take_over`.
        :raises ConfigError: another process that lives is named there, or it cannot be written.
        """
        self._final, self.path = self.path, f"{self.path}.2" if beside else self.path
        other = self.read()
        if other not in {0, os.getpid()} and is_alive(other):
            raise ConfigError(
                f"--pid: {self.path} belongs to process {other}, which is running.",
                hint="Stop that one first, or give another file.",
            )
        temporary = f"{self.path}.{os.getpid()}"
        try:
            with open(temporary, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path)
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise ConfigError(f"--pid: cannot write {self.path} ({exc.strerror}).") from exc

    def read(self) -> int:
        """The process that it names; 0 when it names none."""
        try:
            with open(self.path, encoding="ascii") as file:
                return int(file.read(32))
        except (OSError, ValueError):
            return 0

    def take_over(self) -> None:
        """The older master has gone: the file gets its own name."""
        with contextlib.suppress(OSError):
            os.replace(self.path, self._final)
        self.path = self._final

    def remove(self) -> None:
        """Removes it, unless another process has written to it."""
        with contextlib.suppress(OSError):
            if self.read() == os.getpid():
                os.unlink(self.path)

    def remove_beside(self, pid: int) -> None:
        """Removes the file of a newer master that has ended without doing so, as when it was killed.

        :param pid: its process id.
        """
        beside = PidFile(f"{self.path}.2")
        with contextlib.suppress(OSError):
            if beside.read() == pid:
                os.unlink(beside.path)


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Not ours to signal, so it is there.
        return True
    return True
