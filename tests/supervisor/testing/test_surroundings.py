"""Which variables keep one environment from standing in for another."""

from __future__ import annotations

from devserver.supervisor.testing.service import describe
from devserver.supervisor.testing.surroundings import differing


def test_what_tells_of_a_shell_and_its_window_may_differ() -> None:
    one = {"SHLVL": "1", "PWD": "/a", "TERM": "xterm", "COLUMNS": "80", "PATH": "/bin", "PYTEST_ADDOPTS": "-x"}
    other = {"SHLVL": "2", "PATH": "/bin", "TMUX_PANE": "%1", "SSH_TTY": "/dev/pts/1", "XDG_SESSION_ID": "3"}
    assert differing(one, other) == []


def test_all_else_counts_when_it_is_added_changed_or_gone() -> None:
    assert differing({"A": "1", "B": "1", "C": "1"}, {"B": "2", "C": "1", "D": "1"}) == ["A", "B", "D"]


def test_names_are_listed_up_to_a_limit_and_values_never() -> None:
    assert describe([]) == ""
    assert describe(["A"]) == "other variables than dev run has: A"
    assert describe(list("ABCDEFG")) == "other variables than dev run has: A, B, C, D, E and 2 more"
