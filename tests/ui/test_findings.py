"""What dev doctor shows."""

from __future__ import annotations

from devserver.supervisor.doctor.case import ERROR, NOTE, Finding
from devserver.ui.findings import report

BAD = Finding(ERROR, "It does not work, and this is a long sentence about it.", "main.py:3", "Mend it.")
OPEN = Finding(NOTE, "Everybody can read .env.", ".env", "chmod 600 .env")


def test_findings_have_place_and_remedy() -> None:
    assert report([BAD, OPEN, OPEN], ["app"]).splitlines() == [
        "error: It does not work, and this is a long sentence about it.",
        "  in:   main.py:3",
        "  hint: Mend it.",
        "",
        "note: Everybody can read .env.",
        "  hint: chmod 600 .env",
        "",
        "note: Everybody can read .env.",
        "  hint: chmod 600 .env",
        "",
        "1 error, 2 notes.",
    ]


def test_health_is_one_line() -> None:
    assert report([], ["app", "address"]) == "All is well. Looked at app, address."


def test_terminal_has_its_lines_wrapped_and_commands_whole() -> None:
    command = Finding(NOTE, "Few.", "limit", "sudo sysctl fs.inotify.max_user_watches=524288")
    shown = report([BAD, command], ["app"], width=30).splitlines()
    assert shown[:2] == ["error: It does not work, and", "  this is a long sentence"]
    assert "  hint: sudo sysctl fs.inotify.max_user_watches=524288" in shown


def test_text_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in report([Finding(NOTE, "\x1b[31m")], [])
