"""Where a project begins and ends: its root, the files that are its own, and the environment it runs in.

Knows files and folders; must not know the command line or the app. The rules are those of the reference page
"Reload": the user's own code is watched, shown in tracebacks and loaded afresh, everything else is not.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from devserver.config.root import nearest_project
from devserver.errors import ConfigError

if TYPE_CHECKING:
    from devserver.config.target import Target

_PACKAGES = frozenset({"site-packages", "dist-packages"})
"""Names of the folders that packages are installed in."""
# Folders whose verdict is remembered; a project has far fewer.
_VERDICTS_MAX = 8192


def project_root(target: Target, directory: Path) -> Path:
    """The folder of the nearest pyproject.toml at or above the app's file, else the folder its imports start from.

    :param target: what is served; when it has no file, or an installed one, ``directory`` stands for the app's folder.
    :param directory: the working directory.
    """
    start = Path(os.path.abspath(directory))
    if target.path is not None and not _is_installed(str(target.path)):
        start = Path(os.path.abspath(target.path.parent))
    found = nearest_project(start)
    if found is not None:
        return found
    base = Path(os.path.abspath(directory / target.search_path))
    return base if start.is_relative_to(base) else start


class FirstParty:
    """The files that are the user's own: ``path in first_party``.

    Under the project root or one of the extra folders, but not in an environment, in site-packages, in the standard
    library or in this package. Symbolic links count by where they lie and by where they lead. A relative path without a
    file is not: compiled libraries name their sources so in tracebacks (``uvloop/loop.pyx``).

    :param root: see :func:`project_root`.
    :param extra_dirs: reload folders, workspace members and editable installs; see :meth:`of`.
    """

    def __init__(self, root: Path | str, extra_dirs: Iterable[Path | str] = ()) -> None:
        self.root = str(root)
        self.extra_dirs = tuple(str(folder) for folder in extra_dirs)
        own = [self.root, *self.extra_dirs]
        self._roots = tuple(dict.fromkeys(spelling for folder in own for spelling in _spellings(folder)))
        self._excluded = tuple(dict.fromkeys(spelling for folder in self._foreign() for spelling in _spellings(folder)))
        self._verdicts: dict[str, bool] = {}

    @classmethod
    def of(cls, root: Path, reload_dirs: Iterable[Path | str] = ()) -> FirstParty:
        """With the workspace members and the editable installs of this environment added."""
        return cls(
            root, dict.fromkeys([*map(str, reload_dirs), *workspace_members(root), *editable_installs(sys.path)])
        )

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str) or not path or path.startswith("<"):
            return False
        if not os.path.isabs(path) and not os.path.exists(path):
            return False
        folder, name = os.path.split(os.path.abspath(path))
        verdict = self._verdicts.get(folder)
        if verdict is None:
            if len(self._verdicts) >= _VERDICTS_MAX:
                self._verdicts.clear()
            verdict = self._verdicts[folder] = self._judge(folder)
        if verdict and name.endswith(".zip"):
            return False
        return verdict

    def __repr__(self) -> str:
        return f"FirstParty({self.root!r}, {self.extra_dirs!r})"

    def __reduce__(self) -> tuple[type[FirstParty], tuple[str, tuple[str, ...]]]:
        return FirstParty, (self.root, self.extra_dirs)

    def _judge(self, folder: str) -> bool:
        spellings = _spellings(folder)
        base = next((root for root in self._roots for spelling in spellings if _is_under(spelling, root)), None)
        if base is None:
            return False
        for spelling in spellings:
            if any(_is_under(spelling, excluded) for excluded in self._excluded):
                return False
            if not _PACKAGES.isdisjoint(spelling.split(os.sep)):
                return False
            if _is_under(spelling, base) and _has_environment(spelling, base):
                return False
        return True

    def _foreign(self) -> list[str]:
        foreign = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
        foreign += [*_standard_library(), os.path.dirname(os.path.abspath(sys.executable))]
        # A container's project often lies under the interpreter's prefix (/usr/src/app under /usr, or a virtual
        # environment made in the project's own folder): then only the folders above are foreign, not the prefix.
        prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
        foreign += [prefix for prefix in prefixes if not any(_is_under(root, prefix) for root in self._roots)]
        return foreign


def project_interpreter(directory: Path, environ: Mapping[str, str]) -> Path | None:
    """The interpreter of the project's own environment, when it is not the one that runs now.

    The active environment (``VIRTUAL_ENV``) decides; without one, the ``.venv`` of the working directory or of a
    folder above it, as far up as its pyproject.toml. A folder counts as an environment when it has a pyvenv.cfg.

    :param directory: the working directory.
    :param environ: the process's environment.
    """
    active = environ.get("VIRTUAL_ENV", "")
    if active and (Path(active) / "pyvenv.cfg").is_file():
        return _other_interpreter(Path(active))
    start = Path(os.path.abspath(directory))
    for folder in (start, *start.parents):
        if (folder / ".venv" / "pyvenv.cfg").is_file():
            return _other_interpreter(folder / ".venv")
        if (folder / "pyproject.toml").is_file():
            break
    return None


def read_pyproject(path: Path) -> dict[str, Any]:
    """A pyproject.toml as nested dicts; empty when there is none.

    :raises ConfigError: it cannot be read or is not TOML.
    """
    # Imported here: a worker reads none.
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ConfigError(f"Cannot read {path}: {reason}.") from exc


def workspace_members(root: Path) -> list[str]:
    """Folders of the uv workspace that the project at ``root`` belongs to, itself left out."""
    for folder in (root, *root.parents):
        try:
            workspace = read_pyproject(folder / "pyproject.toml")["tool"]["uv"]["workspace"]
            patterns = [str(pattern) for pattern in workspace["members"]]
        except (ConfigError, KeyError, TypeError):
            continue
        found: list[str] = []
        for pattern in patterns:
            with contextlib.suppress(ValueError, OSError, NotImplementedError):
                found += [
                    str(member) for member in sorted(folder.glob(pattern)) if (member / "pyproject.toml").is_file()
                ]
        own = [str(folder), *found] if str(root) in found else found
        if own and str(root) in {str(folder), *own}:
            return [member for member in own if member != str(root)]
    return []


def editable_installs(search: Iterable[str]) -> list[str]:
    """Source folders of the distributions that were installed in editable mode (PEP 610, PEP 660)."""
    folders: list[str] = []
    for entry in search:
        if not entry.rstrip("/\\").endswith(("site-packages", "dist-packages")):
            continue
        try:
            infos = [info.path for info in os.scandir(entry) if info.name.endswith(".dist-info")]
        except OSError:
            continue
        for info in infos:
            try:
                with open(os.path.join(info, "direct_url.json"), encoding="utf-8") as file:
                    data = json.load(file)
                if data["dir_info"]["editable"] and data["url"].startswith("file:"):
                    path = unquote(urlsplit(data["url"]).path)
                    # file:///C:/folder. Not url2pathname(), which brings the http client along and takes milliseconds.
                    folders.append(path.lstrip("/") if os.name == "nt" else path)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
    return folders


def _is_installed(path: str) -> bool:
    return not _PACKAGES.isdisjoint(path.split(os.sep)) or any(_is_under(path, it) for it in _standard_library())


def _standard_library() -> list[str]:
    # Not from sysconfig, which takes milliseconds to find them. What is compiled may lie apart (lib and lib64).
    compiled = [os.path.dirname(entry) for entry in sys.path if os.path.basename(entry) == "lib-dynload"]
    return [os.path.dirname(os.path.abspath(os.__file__)), *compiled]


def _other_interpreter(environment: Path) -> Path | None:
    if os.path.realpath(environment) == os.path.realpath(sys.prefix):
        return None
    for python in (environment / "bin" / "python", environment / "Scripts" / "python.exe"):
        if python.is_file():
            return python
    return None


def _spellings(folder: str) -> tuple[str, ...]:
    """A folder's path as it was written and with its symbolic links resolved."""
    written = os.path.abspath(folder)
    real = os.path.realpath(written)
    return (written,) if written == real else (written, real)


def _is_under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)


def _has_environment(folder: str, base: str) -> bool:
    """Whether a virtual environment lies between ``base`` (not counted itself) and ``folder``."""
    while folder != base and len(folder) > len(base):
        if os.path.exists(os.path.join(folder, "pyvenv.cfg")):
            return True
        folder = os.path.dirname(folder)
    return False
