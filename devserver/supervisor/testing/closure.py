"""Which test files a change may concern, by what they import.

A test file hangs on the modules that it names in import statements, on those that these name, on the packages that hold
any of them, and on each ``conftest.py`` above it. Only modules of the project that a run has really loaded count, so
that a name in a docstring adds little. What was loaded and is named by nobody, such as a plugin that is imported by
name, concerns every test.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch

from devserver.supervisor.statements import BYTES_MAX, imported
from devserver.supervisor.testing.arguments import CONFIG_FILES

CONFTEST = "conftest.py"


class Closure:
    """What is known of the files of a project's tests; grows with each run."""

    def __init__(self) -> None:
        self.tests: set[str] = set()
        """Paths of the test files."""
        self._names: dict[str, str] = {}
        """Path of a loaded file → its module's name."""
        self._patterns: tuple[str, ...] = ()
        self._imports: dict[str, tuple[tuple[int, int], frozenset[str]]] = {}

    def ran(
        self,
        tests: Iterable[str],
        sources: Mapping[str, str],
        folders: Sequence[str],
        patterns: Iterable[str],
        *,
        everything: bool,
    ) -> None:
        """Takes what a run has told.

        :param tests: the test files that it has collected.
        :param sources: path → module name of each file that was loaded; empty when that is not known.
        :param folders: where the project's modules are imported from.
        :param patterns: how names of test files look.
        :param everything: it was a run of all tests.
        """
        if everything:
            self.tests.clear()
            self._names.clear()
        self.tests.update(tests)
        self._names.update({path: name or _module_name(path, folders) for path, name in sources.items()})
        self._patterns = tuple(patterns)

    def is_test(self, path: str) -> bool:
        """Whether a file looks like one of tests."""
        return any(fnmatch(os.path.basename(path), pattern) for pattern in self._patterns)

    def knows(self, path: str) -> bool:
        """Whether a change of the file surely matters: a run has loaded it, or it is no source file."""
        name = os.path.basename(path)
        return path in self._names or path in self.tests or name == CONFTEST or not name.endswith(".py")

    def concerned(self, changed: Iterable[str], failed: Iterable[str]) -> dict[str, set[str] | None]:
        """Changed file → the test files to run for it; None means all. What concerns none is left out.

        :param failed: the test files that failed last: what is new may be what they miss.
        """
        hanging = self._hanging()
        found = {path: self._concerned(path, hanging, failed) for path in changed}
        return {path: tests for path, tests in found.items() if tests is None or tests}

    def _concerned(self, path: str, hanging: Mapping[str, set[str]], failed: Iterable[str]) -> set[str] | None:
        name = os.path.basename(path)
        if name == CONFTEST or name in CONFIG_FILES or not name.endswith(".py"):
            return None
        those = {test for test, files in hanging.items() if path in files}
        if not those:
            if path in self._names and path not in self.tests:
                return None
            those = {path} if self.is_test(path) else {*failed}
        return {test for test in those if os.path.exists(test)}

    def _hanging(self) -> dict[str, set[str]]:
        """Test file → the files that it hangs on, itself included."""
        places = {name: path for path, name in self._names.items()}
        direct = {path: self._direct(path, places) for path in {*self._names, *self.tests}}
        found: dict[str, set[str]] = {}
        for test in self.tests:
            reached = {test}
            waiting = [test, *_conftests(test)]
            while waiting:
                path = waiting.pop()
                reached.add(path)
                if path not in direct:
                    direct[path] = self._direct(path, places)
                waiting += direct[path] - reached
            found[test] = reached
        return found

    def _direct(self, path: str, places: Mapping[str, str]) -> set[str]:
        name = self._names.get(path, "")
        package = name if os.path.basename(path) == "__init__.py" else name.rpartition(".")[0]
        found = set()
        for wanted in {*self._read(path, package), name}:
            # With every package that holds it: their code runs first.
            while wanted:
                if wanted in places:
                    found.add(places[wanted])
                wanted = wanted.rpartition(".")[0]
        return found - {path}

    def _read(self, path: str, package: str) -> frozenset[str]:
        try:
            status = os.stat(path)
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._imports.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            if status.st_size > BYTES_MAX:
                return frozenset()
            with open(path, "rb") as file:
                names = imported(file.read(), package)
        except OSError:
            return frozenset()
        self._imports[path] = (stamp, names)
        return names


def _conftests(test: str) -> list[str]:
    found, folder = [], os.path.dirname(test)
    while True:
        path = os.path.join(folder, CONFTEST)
        if os.path.isfile(path):
            found.append(path)
        parent = os.path.dirname(folder)
        if parent == folder:
            return found
        folder = parent


def _module_name(path: str, folders: Sequence[str]) -> str:
    """What a file that could not be imported would be called."""
    inside = [folder for folder in folders if path.startswith(os.path.join(folder, ""))]
    if not inside:
        return ""
    relative = path[len(os.path.join(max(inside, key=len), "")) :].removesuffix(".py").removesuffix("/__init__")
    return relative.replace(os.sep, ".")
