"""Which event loop a server runs on, and running a coroutine on a fresh one.

The only place that knows uvloop. ``auto`` takes uvloop where it is installed and asyncio's own loop elsewhere; a
name that was asked for is never replaced by another. Nothing here touches the loop policy: the factory is given to
:class:`asyncio.Runner`, so that a server in a thread does not change what the rest of the program runs on.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from devserver.errors import ConfigError

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], loop_name: str = "auto", *, wait_for_threads: bool = True) -> T:
    """Runs ``main`` on a new loop and closes the loop.

    :param loop_name: ``auto``, ``uvloop``, ``asyncio`` or ``module:attribute`` of a loop factory.
    :param wait_for_threads: whether closing waits for calls that still run in the loop's default executor. A command
        does not, because a cancelled ``time.sleep(20)`` would hold it for 20 s; it ends with ``launch.leave``.
    :raises ConfigError: there is no such loop.
    """
    try:
        factory = loop_factory(loop_name)
    except ConfigError:
        main.close()
        raise
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(main)
        finally:
            if not wait_for_threads:
                # Closing a Runner waits for the default executor (for five minutes since Python 3.12, for ever
                # before). An executor that never ran anything is the public way to give it nothing to wait for.
                runner.get_loop().set_default_executor(ThreadPoolExecutor(max_workers=1))


def new_loop(name: str = "auto") -> asyncio.AbstractEventLoop:
    """A new event loop of the kind called ``name``; the caller closes it.

    :raises ConfigError: there is no such loop.
    """
    return loop_factory(name)()


def loop_factory(name: str) -> LoopFactory:
    """The factory behind ``--loop``.

    :param name: ``auto``, ``uvloop``, ``asyncio`` or an import string.
    :raises ConfigError: uvloop is asked for and not installed, or the import string leads nowhere.
    """
    known = _FACTORIES.get(name)
    return known() if known is not None else _imported(name)


def _auto() -> LoopFactory:
    try:
        return _uvloop()
    except ConfigError:
        return asyncio.new_event_loop


def _uvloop() -> LoopFactory:
    try:
        import uvloop
    except ImportError as exc:
        raise ConfigError(
            "loop: uvloop is not installed in this environment.",
            hint="install uvloop, or use --loop auto, which takes asyncio's own loop without it.",
        ) from exc
    factory: LoopFactory = uvloop.new_event_loop
    return factory


def _asyncio() -> LoopFactory:
    return asyncio.new_event_loop


# "none" is uvicorn's undocumented name for asyncio's own loop.
_FACTORIES: dict[str, Callable[[], LoopFactory]] = {
    "auto": _auto,
    "uvloop": _uvloop,
    "asyncio": _asyncio,
    "none": _asyncio,
}


def _imported(name: str) -> LoopFactory:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigError(f'loop: "{name}" is none of auto, uvloop, asyncio, nor an import string "module:attribute".')
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(f'loop: cannot import "{name}" ({exc}).') from exc
    if not callable(found):
        raise ConfigError(f'loop: "{name}" is not callable; a function that returns a new event loop is needed.')
    factory: LoopFactory = found
    return factory
