"""The installed packages that have plugins of pytest's, looked up once in a host and not again in each run.

pytest reads the entry points of everything that is installed twice when it starts, a tenth of a second in a large
environment. A host is made anew when what is installed changes, so that its runs may be told what it has found.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Iterator
from typing import Any

GROUP = "pytest11"
"""The entry points by which pytest finds its plugins."""
_ASKING = frozenset({"_pytest.config", "pluggy._manager"})
"""Whoever else asks is told everything, by who always tells it."""


class Known:
    """A distribution whose files and entry points have been read."""

    def __init__(self, distribution: importlib.metadata.Distribution) -> None:
        self._distribution = distribution
        self.entry_points = [*distribution.entry_points]
        self.files = [*(distribution.files or ())]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._distribution, name)


def with_plugins(path: Iterable[str]) -> dict[str, list[Known]]:
    """Folder that packages are installed in → those of them that have plugins."""
    return {
        entry: [
            Known(distribution)
            for distribution in importlib.metadata.distributions(path=[entry])
            if any(point.group == GROUP for point in distribution.entry_points)
        ]
        for entry in path
        if entry.endswith(("site-packages", "dist-packages"))
    }


def tell_pytest(known: dict[str, list[Known]]) -> None:
    """Has pytest be told what is known, and all other folders be looked into."""
    find = importlib.metadata.distributions

    def distributions(**options: Any) -> Iterator[Any]:
        asking = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001
        return iter(find(**options)) if options or asking not in _ASKING else found()

    def found() -> Iterator[Any]:
        for entry in sys.path:
            yield from known[entry] if entry in known else find(path=[entry])

    importlib.metadata.distributions = distributions
