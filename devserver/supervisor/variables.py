"""The environment of a worker, made anew for each: a pristine copy of ours, with the env files as they are now over it.

It reads files and tells what has changed; it must not know what a worker is. What the supervisor was started with is
taken down once, so that a name which is deleted from a file vanishes and an edit wins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.config import environment
from devserver.config.env_layers import Variables, candidates, difference, read_layers
from devserver.errors import ConfigError
from devserver.events import EnvironmentChanged, Event, Notice

if TYPE_CHECKING:
    from devserver.config import Config
    from devserver.config.env_findings import Finding


class WorkerVariables:
    """Reads the env files for every worker.

    :param added: the variables that are in ``os.environ`` and do not belong to the environment that we were started
        with: those of the env files as they were then, and defaults.
    :param defaults: what is set where nothing else sets it.
    :param say: tells of edits, and of what is newly wrong; what was wrong at first has been told by whoever read the
        files then.
    """

    def __init__(
        self,
        config: Config,
        directory: Path,
        *,
        added: Mapping[str, str],
        defaults: Mapping[str, str],
        say: Callable[[Event], None],
    ) -> None:
        self._mode, self._strict = config.mode, config.strict_env
        self._given = tuple(map(os.fspath, config.env_file)) if isinstance(config.env_file, tuple) else ()
        self._directory = directory
        self._own = {name: value for name, value in os.environ.items() if added.get(name) != value}
        self._defaults = dict(defaults)
        self._say = say
        self._before: Variables | None = None
        self._last = dict(os.environ)

    @property
    def files(self) -> tuple[str, ...]:
        """The absolute paths of the files that count, those that do not exist yet included."""
        return candidates(self._mode, self._given, self._directory)

    def read(self) -> dict[str, str]:
        """The environment for a worker that starts now; that of the one before when the files cannot be used."""
        try:
            now = read_layers(self._mode, self._given, self._own, directory=self._directory)
            if self._strict and now.warnings and self._before is not None:
                raise ConfigError(f"{now.warnings[0]} (--strict-env)")
        except ConfigError as exc:
            self._say(Notice("error", f"{exc.message} The values from before are used."))
            return self._last
        before, self._before = self._before, now
        self._last = {**self._defaults, **self._own, **now.added}
        # For whoever masks secrets: it has to know those of the new worker, and those of the old one, too.
        environment.add(self._last)
        if before is not None:
            self._tell(before, now)
        return self._last

    def _tell(self, before: Variables, now: Variables) -> None:
        changes = difference(before, now)
        if changes.files:
            self._say(
                EnvironmentChanged(changes.files, changes.added, changes.changed, changes.removed, changes.shadowed)
            )
        known = {_what(finding) for finding in before.findings}
        for finding in now.findings:
            if _what(finding) not in known:
                self._say(finding.notice)


def _what(finding: Finding) -> tuple[str, str]:
    # A line that moves because of another one is no news.
    return finding.file, finding.text
