"""One env file: what it says, and what is said of one that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.config.env_files import BYTES_MAX, EnvFileError, read


def values(path: Path) -> dict[str, str]:
    return {definition.name: definition.value for definition in read(path, path.name).definitions}


def refused(path: Path) -> EnvFileError:
    with pytest.raises(EnvFileError) as caught:
        read(path, path.name)
    return caught.value


def test_definitions_have_their_lines(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# head\n\nA=1\n\n\nexport B='two words'\nC=\"x\ny\"\nD=d # comment\n")
    found = read(tmp_path / ".env", ".env")
    assert [(each.name, each.value, each.place) for each in found.definitions] == [
        ("A", "1", ".env:3"),
        ("B", "two words", ".env:6"),
        ("C", "x\ny", ".env:7"),
        ("D", "d", ".env:9"),
    ]
    assert [each.literal for each in found.definitions] == [False, True, False, False]
    assert found.findings == ()


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=1")
    assert values(tmp_path / ".env") == {"A": "1"}


def test_missing_file_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path / "no.env")
    assert error.message == "The env file no.env does not exist."
    assert str(tmp_path) in error.hint


def test_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    error = refused(tmp_path / ".env")
    assert error.message == "The env file .env is a folder, not a file."
    assert str(error.finding) == (
        ".env:1: this file is a folder, not a file, and all of it is left out. "
        "Rename the folder, or name a file inside it with --env-file."
    )


def test_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(".env")
    assert refused(tmp_path / ".env").message.startswith("The env file .env cannot be read: ")


def test_file_that_no_process_could_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"#" * (BYTES_MAX + 1))
    assert refused(tmp_path / ".env").message == "The env file .env is larger than 4 MiB."


@pytest.mark.parametrize(
    ("data", "guess"),
    [
        ("A=1\n".encode("utf-16"), ".env:1 is not UTF-8 text: it looks like UTF-16, as PowerShell's > writes it."),
        ("A=1\n".encode("utf-32"), ".env:1 is not UTF-8 text: it looks like UTF-32."),
        ("A=1\nB=2\n".encode("utf-16-le"), ".env:1 is not UTF-8 text: it looks like UTF-16 without a byte order mark."),
        ("A=1\nB=2\n".encode("utf-16-be"), ".env:1 is not UTF-8 text: it looks like UTF-16 without a byte order mark."),
        ("A=1\nB=é\n".encode("cp1252"), ".env:2 is not UTF-8 text: byte 6 looks like Windows-1252 or Latin-1."),
        (bytes(range(128, 255)) + b"\1\2\3", ".env:1 is not UTF-8 text: it looks like no text at all."),
    ],
)
def test_other_encoding_is_guessed(tmp_path: Path, data: bytes, guess: str) -> None:
    (tmp_path / ".env").write_bytes(data)
    error = refused(tmp_path / ".env")
    assert error.message == f"The env file {guess}"
    assert error.hint == "Save it as UTF-8."


def test_windows_line_ends_are_read_and_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=1\nB=2\r\nC='x\r\ny'\r\n")
    assert values(tmp_path / ".env") == {"A": "1", "B": "2", "C": "x\ny"}
    assert [str(finding) for finding in read(tmp_path / ".env", ".env").findings] == [
        (
            ".env:2: lines end in CRLF, as on Windows; a shell or Docker would take the CR for a part of the value. "
            "Save the file with LF."
        )
    ]
