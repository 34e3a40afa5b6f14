"""What a worker has taken from others, told to the supervisor so that the next one finds it imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Container
from typing import Any


def others(first_party: Container[str], *, known: Container[str] = ()) -> list[str]:
    """The modules in ``sys.modules`` that are not the project's, in the order in which their imports began.

    Modules that somebody made by hand, and second names of modules, cannot be imported and are left out.

    :param known: names that need not be told.
    """
    return [name for name in [*sys.modules] if name not in known and _is_others(name, sys.modules[name], first_party)]


class VariableRecorder:
    """Notes what the project's own code puts into the environment, such as ``load_dotenv()`` on top of its main module.

    A module of others that is imported later may have read it, so it must be there when that module is imported ahead
    of the project. It is an audit hook (PEP 578), which cannot be removed again.

    :param first_party: which files are the project's.
    """

    def __init__(self, first_party: Container[str]) -> None:
        self._first_party = first_party
        self._set: dict[str, int] = {}
        """Variable → how many modules there were."""
        self._recording = False

    def install(self) -> None:
        """Begins to record."""
        self._recording = True
        sys.addaudithook(self._audit)

    def settle(self) -> None:
        """The app is imported: what is set from now on comes too late for an import to see."""
        self._recording = False

    def before_others(self) -> dict[str, str]:
        """Those that were set before the last import from others, with their values."""
        if not self._set:
            return {}
        known = list(sys.modules.items())
        last = max(
            (index for index, (name, module) in enumerate(known) if _is_others(name, module, self._first_party)),
            default=-1,
        )
        return {name: os.environ[name] for name, count in self._set.items() if count <= last and name in os.environ}

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.putenv" and self._recording and self._is_own():
            self._set.setdefault(os.fsdecode(arguments[0]), len(sys.modules))

    def _is_own(self) -> bool:
        """Whether the innermost module that is being executed is the project's."""
        frame = sys._getframe(2)  # noqa: SLF001
        while frame is not None:
            if frame.f_code.co_name == "<module>":
                return frame.f_code.co_filename in self._first_party
            frame = frame.f_back  # type: ignore[assignment]
        return False


def _is_others(name: str, module: object, first_party: Container[str]) -> bool:
    spec = getattr(module, "__spec__", None)
    if spec is None or spec.name != name or name in {"__main__", "__mp_main__"}:
        return False
    if spec.has_location:
        return spec.origin not in first_party
    folders = spec.submodule_search_locations or ()
    return not any(os.path.join(folder, "__init__.py") in first_party for folder in folders)
