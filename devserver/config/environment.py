"""Variables put into effect in this process, as if it had been started with them.

TZ and PYTHONPATH are otherwise read only when an interpreter starts. Here they count whenever they change.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping


def replace(wanted: Mapping[str, str]) -> None:
    """Makes ``os.environ`` what it would be in a process that was started with ``wanted``."""
    _exchange({name: wanted.get(name) for name in {*os.environ, *wanted}})


def add(added: Mapping[str, str]) -> None:
    """Adds variables to ``os.environ``."""
    _exchange(added)


def exchange(before: Mapping[str, str], after: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Puts the variables ``after`` in the place of ``before``, over an environment ``own``."""
    _exchange({**{name: own.get(name) for name in before}, **after})


def _exchange(values: Mapping[str, str | None]) -> None:
    """:param values: name → value; None removes the variable."""
    changed = {name: value for name, value in values.items() if os.environ.get(name) != value}
    paths = _paths()
    for name, value in changed.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    if "TZ" in changed and hasattr(time, "tzset"):
        time.tzset()
    if "PYTHONPATH" in changed:
        now = _paths()
        sys.path[:] = [path for path in sys.path if path not in paths or path in now]
        sys.path[:0] = [path for path in now if path not in sys.path]


def _paths() -> list[str]:
    """The folders of PYTHONPATH; a relative one is below the working folder."""
    return [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
