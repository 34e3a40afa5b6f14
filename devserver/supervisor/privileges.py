"""Whose rights the workers have: a master that was started as root binds the ports, and gives up the rest in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devserver.errors import ConfigError

if TYPE_CHECKING:
    from devserver.config import Config


@dataclass(frozen=True)
class Identity:
    """The ids that a worker takes on.

    :ivar user: None: it keeps its own; so with ``group``.
    :ivar name: the user's name, for its further groups; empty when the system knows none.
    """

    user: int | None
    group: int | None
    name: str = ""

    @classmethod
    def of(cls, config: Config) -> Identity:
        """What the settings ask for.

        :raises ConfigError: there is no such user or group, or this process may not become it.
        """
        user, group, name = None, None, ""
        if config.user is not None:
            user, group, name = _user(config.user)
        if config.group is not None:
            group = _group(config.group)
        wanted = cls(user, group, name)
        if not wanted.is_ours and os.geteuid() != 0:
            which = f"user {config.user}" if config.user is not None else f"group {config.group}"
            raise ConfigError(
                f"Only root can run workers as {which}; this process is user {os.geteuid()}.",
                hint="Start it as root, or leave --user and --group out.",
            )
        return wanted

    @property
    def is_ours(self) -> bool:
        """Whether this process has these ids already."""
        return self.user in {None, os.geteuid()} and self.group in {None, os.getegid()}

    def take_on(self) -> None:
        """Becomes it, for good; groups first, since the user may not change them.

        :raises OSError: not allowed.
        """
        if self.is_ours:
            return
        if self.group is not None:
            if self.name:
                os.initgroups(self.name, self.group)
            else:
                os.setgroups([self.group])
            os.setgid(self.group)
        if self.user is not None:
            os.setuid(self.user)


def _user(text: str) -> tuple[int, int | None, str]:
    import pwd

    try:
        found = pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text)
    except KeyError:
        if text.isdigit():
            # Containers run as numbers that no file names.
            return int(text), None, ""
        raise ConfigError(f"--user: there is no user {text!r} on this machine.") from None
    return found.pw_uid, found.pw_gid, found.pw_name


def _group(text: str) -> int:
    import grp

    if text.isdigit():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ConfigError(f"--group: there is no group {text!r} on this machine.") from None
