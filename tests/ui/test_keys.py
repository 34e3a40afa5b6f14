"""Keys out of bytes: what triggers something, and all that must not."""

from __future__ import annotations

import pytest

from devserver.ui.keys import Keys


@pytest.mark.parametrize(
    ("data", "pressed"),
    [
        (b"r", ["r"]),
        (b"Rx", ["R", "x"]),
        (b"\r", ["enter"]),
        ("ö".encode(), ["ö"]),
        (b"\x00\x7f\x04", []),
        (b"\x1b[A", []),
        (b"\x1bOP", []),
        (b"\x1b[1;5Cq", ["q"]),
        (b"\x1bq", []),
        (b"\x1b[200~rqq\x1b[201~h", ["h"]),
        (b"a\x1b[200~\x1b[A\x1b[201~b", ["a", "b"]),
    ],
)
def test_bytes_are_keys_wherever_they_are_cut(data: bytes, pressed: list[str]) -> None:
    for at in range(len(data) + 1):
        if data[:at].decode(errors="ignore").encode() != data[:at]:
            continue  # A character that is cut in two is dropped, which does no harm.
        keys = Keys()
        assert keys.press(data[:at]) + keys.press(data[at:]) == pressed


def test_paste_that_does_not_end_triggers_nothing() -> None:
    keys = Keys()
    assert keys.press(b"\x1b[200~" + b"q" * 100_000) == []
    assert keys.press(b"q" * 100) == []
    assert keys.press(b"\x1b[201~q") == ["q"]
