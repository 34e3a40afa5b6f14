"""The lines of ``dev test --watch``."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest

from devserver.events import Notice
from devserver.supervisor.testing.watching import Finished
from devserver.ui.test_lines import TestLines, summary


def finished(code: int, counts: Mapping[str, int], *paths: str, files: int = 3, output: bytes = b"") -> Finished:
    return Finished(code, counts, files, 0.244, paths, output)


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (finished(0, {"passed": 12}, "/p/app/items.py"), "12 passed · 3 files · 0.24 s · app/items.py"),
        (finished(1, {"passed": 2, "failed": 1, "skipped": 4}), "1 failed, 2 passed, 4 skipped · 3 files · 0.24 s"),
        (finished(2, {"error": 2}, files=1), "2 errors · 1 file · 0.24 s"),
        (finished(2, {}, files=0), "interrupted · 0.24 s"),
        (finished(5, {}), "no tests · 3 files · 0.24 s"),
        (finished(139, {}, files=0), "exit code 139 · 0.24 s"),
        (
            finished(0, {}, *(f"/p/{name}.py" for name in "abcde")),
            "passed · 3 files · 0.24 s · a.py, b.py, c.py and 2 more",
        ),
    ],
)
def test_line_tells_what_came_of_how_many_files_and_why(run: Finished, line: str) -> None:
    assert summary(run, "/p") == line


def lines(**options: bool) -> tuple[io.BytesIO, TestLines]:
    out = io.BytesIO()
    given = {"terminal": False, "colors": False, "everything": False, **options}
    return out, TestLines(out, directory="/p", **given)


def test_what_was_written_is_shown_when_it_matters() -> None:
    out, shown = lines()
    shown.started(None)
    shown.finished(finished(0, {"passed": 1}, output=b"\n\nchatter\n"))
    shown.finished(finished(1, {"failed": 1}, output=b"\n\nwhy\n\n"))
    assert out.getvalue().decode() == "1 passed · 3 files · 0.24 s\n1 failed · 3 files · 0.24 s\nwhy\n"
    out, shown = lines(everything=True)
    shown.finished(finished(0, {"passed": 1}, output=b"chatter\n"))
    assert out.getvalue().decode() == "1 passed · 3 files · 0.24 s\nchatter\n"


def test_terminal_shows_that_tests_run_and_once_which_keys_there_are() -> None:
    out, shown = lines(terminal=True)
    for files in (None, 1, 2):
        shown.started(files)
        shown.finished(finished(0, {"passed": 1}))
    text = out.getvalue().decode()
    assert text.count("\r\x1b[2K1 passed") == 3
    assert [word for word in ("running all tests …", "running 1 file …", "running 2 files …") if word in text] != []
    assert text.count("Enter: run all · f: run failed · q: quit") == 1
    assert "\x1b[3" not in text


def test_colours_tell_well_from_ill() -> None:
    out, shown = lines(colors=True)
    shown.finished(finished(0, {"passed": 1}))
    shown.finished(finished(1, {"failed": 1}))
    shown.notice(Notice("info", "Hear."))
    well, ill, notice = out.getvalue().decode().splitlines()
    assert (well[:5], ill[:5]) == ("\x1b[32m", "\x1b[31m")
    assert notice.endswith(": Hear.")
