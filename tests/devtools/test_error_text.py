"""A failure as Markdown and as a problem object."""

from __future__ import annotations

from devserver.devtools.error_text import markdown, problem
from devserver.events import AppFailed, AppRaised, Failure, Frame

OURS = Frame(
    "/shop/items.py", 9, "get_item", "return 1 / 0", True, ((8, "def f():"), (9, "    return 1 / 0"), (0, "    ^"))
)
OUTER = Frame("/shop/main.py", 3, "middleware", "await call_next()", True)
BARE = Frame("/shop/x`y.py", 1, "f", "", True)
THEIRS = Frame("/lib/routing.py", 5, "app", "await app()", False)
RAISED = AppRaised(
    Failure(
        "ZeroDivisionError", "division by zero", (THEIRS, OUTER, THEIRS, OURS), during="GET /items/0", traceback="Tr\nE"
    )
)


def test_markdown_reads_well_as_it_stands() -> None:
    assert markdown(RAISED) == (
        "# 500 · GET /items/0 raised ZeroDivisionError: division by zero\n"
        "\n"
        "`/shop/items.py:9` in `get_item`\n"
        "\n"
        "```python\n"
        "  8 | def f():\n"
        "> 9 |     return 1 / 0\n"
        "    |     ^\n"
        "```\n"
        "\n"
        "`/shop/main.py:3` in `middleware`\n"
        "\n"
        "```python\n"
        "> 3 | await call_next()\n"
        "```\n"
        "\n"
        "2 framework frames not shown.\n"
        "\n"
        "## Traceback\n"
        "\n"
        "```\n"
        "Tr\n"
        "E\n"
        "```\n"
    )
    assert "## Traceback" not in markdown(RAISED, whole=False)


def test_markdown_of_a_broken_app_has_hint_and_cause() -> None:
    cause = Failure("KeyError", "42", (THEIRS,))
    failed = AppFailed("Could not import main.\nReally.", "Install it.", Failure("E", "m", (BARE,), cause=cause))
    assert markdown(failed) == (
        "# 500 · Could not import main.\n"
        "\n"
        "```\n"
        "Really.\n"
        "```\n"
        "\n"
        "**Hint:** Install it.\n"
        "\n"
        "```\n"
        "E: m\n"
        "```\n"
        "\n"
        "`` /shop/x`y.py:1 `` in `f`\n"
        "\n"
        "## Caused by\n"
        "\n"
        "```\n"
        "KeyError: 42\n"
        "```\n"
        "\n"
        "1 framework frame not shown.\n"
    )
    assert markdown(AppFailed("There is no app.", "", None)) == "# 500 · There is no app.\n"


def test_fence_is_longer_than_what_it_holds() -> None:
    text = markdown(AppFailed("m", "", Failure("E", "````\n# not a title", ())))
    assert "\n`````\nE: ````\n# not a title\n`````\n" in text


def test_problem_has_the_frames_of_the_user_first() -> None:
    members = problem(RAISED)
    assert (members["type"], members["title"], members["status"]) == ("about:blank", "Internal Server Error", 500)
    assert members["detail"] == "GET /items/0 raised ZeroDivisionError: division by zero"
    assert members["traceback"] == ["Tr", "E"]
    (exception,) = members["exceptions"]
    assert [frame["path"] for frame in exception["frames"]] == [
        "/shop/items.py",
        "/shop/main.py",
        "/lib/routing.py",
        "/lib/routing.py",
    ]
    assert exception["frames"][0]["context"][0] == (8, "def f():")


def test_problem_has_hint_and_chain_of_a_broken_app() -> None:
    failed = AppFailed("m", "h", Failure("E", "", (), cause=Failure("C", "", (), cause=Failure("D", "", ()))))
    members = problem(failed)
    assert members["hint"] == "h"
    assert [exception["kind"] for exception in members["exceptions"]] == ["E", "C", "D"]
    assert "exceptions" not in problem(AppFailed("m", "", None))
    assert "hint" not in problem(AppFailed("m", "", None))
