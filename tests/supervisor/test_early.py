"""The interpreter that is started before the settings are known."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from devserver.cli.main import WARM_SET
from devserver.supervisor import warm_set
from devserver.supervisor.early import Early
from tests.support.reload import alive


@pytest.fixture
def early() -> Early:
    """One that waits."""
    early = Early.start()
    assert early is not None
    return early


def test_it_is_looked_for_where_a_warm_set_is_kept() -> None:
    assert Path(WARM_SET) == warm_set.FILE


def test_it_is_taken_once(early: Early) -> None:
    taken = early.take(os.environ)
    assert taken is not None
    process, channel = taken
    assert early.take(os.environ) is None
    early.close()
    assert process.poll() is None
    channel.close()
    # It waits for a plan, and goes when there will be none.
    assert process.wait(30) == 0


def test_it_ends_when_it_is_not_needed(early: Early) -> None:
    taken = early.take(os.environ)
    assert taken is not None
    early = Early(*taken)
    early.close()
    assert not alive(taken[0].pid)


def test_variable_that_modules_read_makes_no_difference(early: Early) -> None:
    taken = early.take({**os.environ, "DATABASE_URL": "x"})
    assert taken is not None
    Early(*taken).close()


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LD_PRELOAD"])
def test_variable_that_the_interpreter_reads_makes_it_useless(early: Early, name: str) -> None:
    assert early.take({**os.environ, name: "1"}) is None


def test_other_search_path_makes_it_useless(early: Early, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/elsewhere"])
    assert early.take(os.environ) is None
