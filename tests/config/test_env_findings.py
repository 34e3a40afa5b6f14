"""What is said of a line of an env file that is wrong, or not what it seems."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.app.redact import Redactor
from devserver.config.env_files import read
from devserver.config.env_findings import listed


def said(folder: Path, text: str) -> list[str]:
    (folder / ".env").write_text(text, encoding="utf-8")
    found = [str(finding) for finding in read(folder / ".env", ".env").findings]
    # Terminal and logs show it through the redactor, which must find nothing to mask.
    assert [Redactor().text(sentence) for sentence in found] == found
    return found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'API_KEY="open\nB=2\n\n export C="x"\nD=4',
            "1: the quote that begins the value of API_KEY is not closed, and API_KEY, B and C are left out; close it.",
        ),
        (
            "A=1\nAPI_KEY='open\nB=2",
            "2: the quote that begins the value of API_KEY is never closed, and API_KEY is left out; close it.",
        ),
        (
            'API_KEY="x" y',
            "1: something stands behind the closing quote of API_KEY, which is left out; a comment begins with #.",
        ),
        (
            'API_KEY="open\nB_TOKEN=2\nC="\nD=4',
            (
                "1: the quoted value of API_KEY goes on to line 3 and takes B_TOKEN along; "
                "if that is not meant, close the quote in line 1."
            ),
        ),
        ("A=1\n\nAPI_KEY: v\n", "3: this cannot be read as NAME=VALUE and is left out."),
        ("=v\n", "1: this cannot be read as NAME=VALUE and is left out."),
        (
            "\n\nexport API_KEY\n",
            "3: API_KEY has no value and is left out; for an empty one put an equals sign behind it.",
        ),
        ("API_KEY=1\nB=1\nAPI_KEY=2", "3: API_KEY stands in line 1 already, and this one wins; delete one of them."),
        (
            "API_KEY=a\0b\nB=1\nC=1",
            (
                "1: 'API_KEY' holds a NUL character, which no environment variable can, and is left out; "
                "delete the character."
            ),
        ),
        (
            'SECRET_DIR="C:\\new\\table"',
            (
                r"1: in the double quotes of SECRET_DIR \n and \t stand for control characters; "
                "put a path into single quotes."
            ),
        ),
        (
            'SHARE="\\\\server\\new"',
            r"1: in the double quotes of SHARE \n stands for a control character; put a path into single quotes.",
        ),
    ],
)
def test_mistake_is_told_with_its_line_and_what_to_do(tmp_path: Path, text: str, sentence: str) -> None:
    assert said(tmp_path, text) == [f".env:{sentence}"]


@pytest.mark.parametrize(
    "text",
    [
        "A='C:\\new\\table'",
        "A=C:\\new\\table",
        'A="C:\\\\new"',
        'A="line\\nline"',
        'A="-----BEGIN PRIVATE KEY-----\nAB=\nCD==\n-----END PRIVATE KEY-----"',
        'A="select\nfrom b where c=1"',
        "A=\nB=#x\nC= # comment\n# D\n",
    ],
)
def test_what_is_meant_is_not_told(tmp_path: Path, text: str) -> None:
    assert said(tmp_path, text) == []


def test_long_lists_are_cut() -> None:
    assert listed(["A"]) == "A"
    assert listed([]) == ""
    assert listed(list("ABCDEF")) == "A, B, C, D, E and F"
    assert listed(list("ABCDEFG")) == "A, B, C, D, E and 2 more"
