"""Whether a fork of a warm process can stand in for a process with other variables; pure.

What was imported ahead may have read any variable, so that all must agree, save those that tell of nothing but the
shell and the window in which a command was typed.
"""

from __future__ import annotations

from collections.abc import Mapping

_SESSION = frozenset(
    {
        *("SHLVL", "_", "PWD", "OLDPWD", "COLUMNS", "LINES", "WINDOWID", "STY", "GPG_TTY", "VTE_VERSION"),
        *("COLORTERM", "PS1", "DBUS_SESSION_BUS_ADDRESS"),
        # pytest reads the first when it runs, and sets the other two for what a test starts.
        *("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTEST_VERSION"),
    }
)
_SESSION_BEGINNINGS = ("TERM", "TMUX", "SSH_", "XDG_SESSION_", "PROMPT", "DBUS_", "WEZTERM_", "KITTY_", "ITERM_")


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names of the variables that keep one environment from standing in for the other, in order."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name) and not _is_of_the_session(name))


def not_inherited(variables: Mapping[str, str]) -> str:
    """What keeps variables of env files from being given to an interpreter that runs; empty when nothing does."""
    names = sorted(name for name in variables if name.startswith("PYTHON"))
    return f"{names[0]} of an env file is read when Python starts" if names else ""


def _is_of_the_session(name: str) -> bool:
    return name in _SESSION or name.startswith(_SESSION_BEGINNINGS)
