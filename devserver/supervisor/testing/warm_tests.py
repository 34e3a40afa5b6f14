"""What a test host imports besides pytest and its plugins: what the tests took from others in earlier runs.

A run may be of a single test, so that nothing is forgotten because it was not imported this time. It is when no source
file that was ever loaded by a run names it any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from devserver.supervisor.statements import Statements
from devserver.supervisor.warm_set import WarmSet

FILE = Path(".devserver", "warm-tests.json")
"""Where it is kept, seen from the project's root."""
_SOURCES_MAX = 20_000
_FOLDERS_MAX = 1_000


class WarmTests(WarmSet):
    """The warm set of a project's tests.

    :param root: the project's root folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.rewritten: list[str] = []
        """Those of the modules whose assertions pytest has rewritten."""
        self.sources: dict[str, None] = {}
        """Source files of the project that runs have loaded."""
        self.folders: list[str] = []
        """Where the project's modules are imported from; pytest puts the tests' folders on the path."""
        self._statements = Statements()
        super().__init__(root, FILE)

    def ran(
        self, modules: Sequence[str], rewritten: Iterable[str], sources: Iterable[str], folders: Iterable[str]
    ) -> bool:
        """Takes what a run has imported; whether a new host would be another one.

        :param modules: what was imported from others and was not there before.
        :param rewritten: those of them whose assertions were rewritten.
        :param sources: the project's files that were loaded.
        :param folders: the project's folders that are on the path.
        """
        known = {*self.rewritten}
        self.rewritten += [name for name in rewritten if name not in known]
        self.folders = list(dict.fromkeys(folders))[:_FOLDERS_MAX]
        known_sources = len(self.sources)
        # A file that is gone names nothing any more.
        self.sources.update(dict.fromkeys(sources))
        changed = len(self.sources) != known_sources
        self.sources = {path: None for path in self.sources if os.path.exists(path)}
        different = self.extend(modules)
        if self.want(self._statements.names(self.sources)):
            different = True
        elif changed:
            self._write()
        return different

    def drop_hidden_in(self, folders: Iterable[str]) -> bool:
        """Takes out what a fresh process would find in one of the folders instead; whether there was any."""
        found = False
        for folder in folders:
            found = self.drop_hidden(folder) or found
        return found

    def _take(self, kept: dict[str, Any]) -> None:
        self.rewritten = list(map(str, kept["rewritten"]))
        self.folders = list(map(str, kept["folders"]))[:_FOLDERS_MAX]
        self.sources = dict.fromkeys(list(map(str, kept["sources"]))[:_SOURCES_MAX])

    def _besides(self) -> dict[str, Any]:
        return {
            "rewritten": self.rewritten,
            "folders": self.folders,
            "sources": [*self.sources][:_SOURCES_MAX],
        }
