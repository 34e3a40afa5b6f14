"""``dev ctl``: asks a running master how it is, and tells it what to do."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from devserver.cli.run import working_directory
from devserver.config.sources import resolve
from devserver.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from devserver.supervisor.control import Answer

ACTIONS = ("status", "workers", "reload", "scale", "stop", "top")


def ctl(action: str, number: int | None, *, control: str | None, as_json: bool, write: Callable[[str], object]) -> int:
    """Does one thing; the exit code.

    :param number: of workers, for ``scale``.
    :param control: the master's socket; what the project's settings say when left out.
    :param write: shows the answer.
    :raises UsageError: there is no such action or no master, or the master says no.
    """
    from devserver.supervisor.control import ask

    if action not in ACTIONS:
        raise UsageError(f"There is nothing called {action!r} to do.", hint=f"Choose one of {', '.join(ACTIONS)}.")
    if (number is None) is (action == "scale"):
        raise UsageError(
            "dev ctl scale needs a number of workers." if number is None else f"dev ctl {action} takes no number.",
            hint="Write dev ctl scale 4." if number is None else "",
        )
    path = control or _path_in_settings()
    if action == "top":
        from devserver.ui import pool

        try:
            pool.top(lambda: ask(path, {"do": "workers"}))
        except KeyboardInterrupt:
            return EXIT_OK
    answer = ask(path, {"do": action, "number": number})
    write(json.dumps(answer) if as_json else _text(action, answer))
    return EXIT_OK


def _text(action: str, answer: Answer) -> str:
    from devserver.ui import pool

    if action == "status":
        return pool.status(answer)
    if action == "workers":
        return pool.plain(pool.workers(answer))
    return str(answer["said"])


def _path_in_settings() -> str:
    config = resolve("prod", {}, environ=os.environ, directory=working_directory()).config
    if config.control is None:
        raise UsageError(
            "No socket is known to reach a master by.",
            hint="Give --control PATH, or set it in pyproject.toml below [tool.devserver.prod].",
        )
    return str(config.control)
