"""Calls the functions of a config file at the moments that gunicorn's users know them from."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from devserver.errors import ConfigError
from devserver.supervisor.hook_config import HookConfig

if TYPE_CHECKING:
    import socket

    from devserver.config import Config
    from devserver.config.python_file import Hook
    from devserver.server.listeners import Listener
    from devserver.supervisor.hook_config import Address


class HookLog:
    """The log of hooks: a logger, with the names of gunicorn's two loggers beside it."""

    def __init__(self) -> None:
        self.error_log = logging.getLogger("devserver.error")
        self.access_log = logging.getLogger("devserver.access")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "error_log":
            raise AttributeError(name)
        return getattr(self.error_log, name)


class HookListener:
    """A listening socket, as hooks see it; as text it is its URL.

    :ivar sock: the socket; closed in workers that accept from another one.
    """

    def __init__(self, url: str, sock: socket.socket) -> None:
        self.sock = sock
        self._url = url
        self._name = sock.getsockname()

    def __str__(self) -> str:
        return self._url

    def getsockname(self) -> Any:
        """Returns the address as the socket module has it, also where the socket is closed."""
        return self._name

    def fileno(self) -> int:
        """Returns the descriptor, or -1 where the socket is closed."""
        return self.sock.fileno()


class HookWorker:
    """A worker, as hooks see it.

    Attributes that ``pre_fork`` sets are there in later hooks of the master, and in the worker itself. With
    ``--preload`` the worker sees those that are text, numbers or booleans.

    :ivar cfg: the settings, see :class:`~devserver.supervisor.hook_config.HookConfig`.
    :ivar age: counts the workers there have been.
    :ivar pid: 0 before it is made.
    :ivar ppid: the process id of the master.
    :ivar timeout: seconds after which a worker that hangs is replaced.
    :ivar alive: False when it has ended.
    :ivar log: for what a hook has to say.
    """

    def __init__(self, server: HookServer, age: int, pid: int = 0) -> None:
        self.cfg, self.log, self.ppid, self.timeout = server.cfg, server.log, server.pid, server.timeout
        self.age, self.pid = age, pid
        self.alive = True

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"


class HookServer:
    """The master, as hooks see it: one object as long as it runs, with the names of gunicorn's Arbiter.

    Hooks may keep attributes of their own in it. What a worker sees is a copy from the moment of its fork.

    :ivar cfg: the settings, see :class:`~devserver.supervisor.hook_config.HookConfig`.
    :ivar address: a host and port, or a path, for each address.
    :ivar num_workers: how many workers there are to be.
    :ivar pid: the process id of the master, also in workers.
    :ivar WORKERS: process id → worker.
    :ivar LISTENERS: the sockets.
    :ivar worker_age: how many workers there have been.
    :ivar timeout: seconds after which a worker that hangs is replaced.
    :ivar proc_name: the name of the processes.
    :ivar log: for what a hook has to say.
    """

    def __init__(self, config: Config, num_workers: int, listeners: Sequence[Listener]) -> None:
        self.pid = os.getpid()
        self.log = HookLog()
        self.LISTENERS = [HookListener(listener.url, listener.socket) for listener in listeners]
        self.address = [_address(listener) for listener in self.LISTENERS]
        self.worker_age = 0
        self.reexec_pid = self.master_pid = 0
        self.master_name = "Master"
        self._workers: dict[int, HookWorker] = {}
        """Age → worker."""
        self.refresh(config, num_workers, {})

    @property
    def WORKERS(self) -> dict[int, HookWorker]:  # noqa: N802 - gunicorn's name
        """Returns the workers that have been made, by process id."""
        return {worker.pid: worker for worker in self._workers.values() if worker.pid}

    def refresh(self, config: Config, num_workers: int, pids: Mapping[int, int]) -> None:
        """Takes over what the master knows.

        :param pids: the age of each worker there is → its process id, 0 when it is not known yet.
        """
        self.cfg = HookConfig(config, self.address, num_workers)
        self.num_workers, self.timeout, self.proc_name = num_workers, self.cfg.timeout, self.cfg.proc_name
        for age, pid in pids.items():
            if age in self._workers:
                self._workers[age].pid = pid

    def hire(self, age: int, others: Collection[int]) -> HookWorker:
        """Adds the worker that is about to be made.

        :param others: ages of the workers there are; what could not be made is forgotten.
        """
        self._workers = {each: worker for each, worker in self._workers.items() if each in others}
        self.worker_age = age
        self._workers[age] = HookWorker(self, age)
        return self._workers[age]

    def dismiss(self, age: int, pid: int) -> HookWorker:
        """Removes a worker that has ended."""
        worker = self._workers.pop(age, None) or HookWorker(self, age)
        worker.pid, worker.alive = pid, False
        return worker

    def marks(self, age: int) -> dict[str, str | float | bool]:
        """Returns what hooks have set on a worker, as far as it can be told to another process."""
        own = vars(HookWorker(self, age)).keys()
        found = vars(self._workers[age]).items()
        return {name: value for name, value in found if name not in own and isinstance(value, (str, int, float))}

    def become(self, age: int, marks: Mapping[str, object]) -> HookWorker:
        """Returns the worker that this process is.

        :param marks: of :meth:`marks`, from the master.
        """
        worker = self._workers.setdefault(age, HookWorker(self, age))
        worker.pid = os.getpid()
        for name, value in marks.items():
            setattr(worker, name, value)
        return worker


def _address(listener: HookListener) -> Address:
    name = listener.getsockname()
    return os.fsdecode(name) if isinstance(name, (str, bytes)) else (name[0], name[1])


class Hooks:
    """The hooks that there are.

    :param functions: by their names.
    :param complain: told of a hook that has raised: what a hook does is no reason to stop serving.
    """

    def __init__(self, functions: Mapping[str, Hook], complain: Callable[[str], object]) -> None:
        self._functions = functions
        self._complain = complain

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def call(self, name: str, *arguments: object) -> None:
        """Calls a hook if there is one."""
        hook = self._functions.get(name)
        if hook is not None:
            try:
                hook(*arguments)
            except Exception as exc:
                self._complain(f"The hook {name} raised {type(exc).__name__}: {exc}")

    def call_first(self, name: str, *arguments: object) -> None:
        """The same before anything serves, when an error of a hook's is one to stop at.

        :raises ConfigError: it raised.
        """
        hook = self._functions.get(name)
        if hook is not None:
            try:
                hook(*arguments)
            except Exception as exc:
                raise ConfigError(f"The hook {name} raised {type(exc).__name__}: {exc}") from exc
