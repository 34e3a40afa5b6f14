"""One env file: from its bytes to definitions and findings. The one home of dotenv.

The parsing is python-dotenv's. Its functions that put values together are not used: they read ``os.environ``, and each
file by itself, where a value may refer to a name of another file. That is done in ``env_values.py``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dotenv.parser import parse_stream

from devserver.config import env_findings, env_once
from devserver.config.env_findings import Finding
from devserver.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

BYTES_MAX = 4 * 1024 * 1024
"""More than Linux lets a process start with; such a file is no env file."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A name and its value, as one line of a file has them.

    :ivar value: with its quotes and escapes taken away, and its references as they stand.
    :ivar file: as the person knows it.
    :ivar literal: it stands in single quotes.
    """

    name: str
    value: str
    file: str
    line: int
    literal: bool = False

    @property
    def place(self) -> str:
        """``.env:3``."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What a file says, in its order."""

    file: str
    definitions: tuple[Definition, ...]
    findings: tuple[Finding, ...]


class EnvFileError(ConfigError):
    """The file as a whole cannot be read.

    :param shown: the file as the person knows it.
    :param problem: what is wrong, to be read after the file's name.
    :param line: where, when that is known.
    """

    def __init__(self, shown: str, problem: str, *, hint: str, line: int = 0) -> None:
        super().__init__(f"The env file {shown}{f':{line}' if line else ''} {problem}.", hint=hint)
        self.finding = Finding(shown, line or 1, f"this file {problem}, and all of it is left out. {hint}")


def read(path: Path, shown: str) -> EnvFile:
    """Reads and parses one file.

    :param shown: the path as the person knows it.
    :raises EnvFileError: it is missing, no file, not to be opened, too large, or not UTF-8.
    """
    text, findings = _text(_bytes(path, shown), shown)
    definitions, more = _parsed(text, shown)
    return EnvFile(shown, tuple(definitions), (*findings, *more))


def _bytes(path: Path, shown: str) -> bytes:
    try:
        if env_once.is_pipe(path):
            data = env_once.read(path, shown, BYTES_MAX)
        else:
            with path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        raise EnvFileError(shown, "does not exist", hint=f"It was looked for as {path.absolute()}.") from None
    except IsADirectoryError:
        raise EnvFileError(
            shown, "is a folder, not a file", hint="Rename the folder, or name a file inside it with --env-file."
        ) from None
    except OSError as exc:
        raise EnvFileError(shown, f"cannot be read: {exc.strerror}", hint="Look at its permissions.") from exc
    if len(data) > BYTES_MAX:
        raise EnvFileError(
            shown, f"is larger than {BYTES_MAX // 1024 // 1024} MiB", hint="A process cannot have that many variables."
        )
    return data


def _text(data: bytes, shown: str) -> tuple[str, list[Finding]]:
    encoding, line = _other_encoding(data)
    if encoding:
        raise EnvFileError(shown, f"is not UTF-8 text: {encoding}", hint="Save it as UTF-8.", line=line)
    # A byte order mark, as some editors write one, is no part of the first name.
    text = data.decode("utf-8-sig")
    findings = []
    if "\r\n" in text:
        line = text[: text.index("\r\n")].count("\n") + 1
        wrong = "lines end in CRLF, as on Windows; a shell or Docker would take the CR for a part of the value."
        findings.append(Finding(shown, line, f"{wrong} Save the file with LF."))
    # As a file that is opened as text would have it.
    return io.StringIO(text, newline=None).read(), findings


def _other_encoding(data: bytes) -> tuple[str, int]:
    """What the bytes probably are when they are not UTF-8, and the line where that is seen; else an empty string."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "it looks like UTF-32", 1
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it looks like UTF-16, as PowerShell's > writes it", 1
    # Every other byte of English in UTF-16 is zero, always on the same side.
    if data.count(0) * 3 > len(data) and max(data[::2].count(0), data[1::2].count(0)) * 10 > data.count(0) * 9:
        return "it looks like UTF-16 without a byte order mark", 1
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in data)
        if controls * 50 > len(data):
            return "it looks like no text at all", line
        return f"byte {exc.start} looks like Windows-1252 or Latin-1", line
    return "", 0


def _parsed(text: str, shown: str) -> tuple[list[Definition], list[Finding]]:
    definitions: list[Definition] = []
    findings: list[Finding] = []
    lines: dict[str, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        # The parser counts from the blank lines before a definition.
        original = binding.original.string.lstrip()
        blank = binding.original.string[: len(binding.original.string) - len(original)]
        name, line = binding.key, binding.original.line + blank.count("\n")
        if binding.error:
            findings.append(env_findings.unreadable(original, shown, line))
        elif name is None:
            continue
        elif binding.value is None:
            findings.append(env_findings.without_value(name, shown, line))
        elif "\0" in name or "\0" in binding.value:
            findings.append(env_findings.holds_nul(name, shown, line))
        else:
            findings += env_findings.of_value(name, original, binding.value, shown, line)
            if name in lines:
                findings.append(env_findings.repeated(name, shown, line, lines[name]))
            lines[name] = line
            literal = original.partition("=")[2].lstrip().startswith("'")
            definitions.append(Definition(name, binding.value, shown, line, literal))
    return definitions, findings
