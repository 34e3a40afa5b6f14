"""What the checks look at, and what they find: plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from devserver.config.settings import Config
    from devserver.config.target import Target
    from devserver.errors import DevserverError
    from devserver.events import Notice

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
"""The worst first: it does not work; it works worse than it could, or is dangerous; good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    :ivar severity: one of :data:`SEVERITIES`.
    :ivar what: a sentence.
    :ivar where: a file, a variable or an option; may be empty.
    :ivar remedy: what to do; may be empty when nothing needs to be done.
    """

    severity: str
    what: str
    where: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Case:
    """What is examined.

    :ivar config: the settings of ``dev run``; the default ones when they could not be read.
    :ivar directory: the working directory.
    :ivar environ: the environment of the app.
    :ivar target: the app, when it was found.
    :ivar root: the project's root.
    :ivar troubles: what went wrong while the settings were read and the app was looked for.
    :ivar notices: what was noticed meanwhile.
    :ivar process_name: what ``dev prod`` is to call its processes.
    :ivar port_is_default: nobody asked for the port.
    :ivar proc: where the kernel tells about itself.
    """

    config: Config
    directory: Path
    environ: Mapping[str, str]
    target: Target | None = None
    root: Path = Path()
    troubles: tuple[DevserverError, ...] = ()
    notices: tuple[Notice, ...] = ()
    process_name: str | None = None
    port_is_default: bool = True
    proc: Path = Path("/proc")

    def shown(self, path: Path | str) -> str:
        """A path as a person in the working directory would write it."""
        path = Path(path)
        return str(path.relative_to(self.directory)) if path.is_relative_to(self.directory) else str(path)


Check: TypeAlias = Callable[[Case], Iterable[Finding]]
