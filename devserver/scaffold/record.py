"""What a project remembers of how it was made: ``.dev-new.json``, a file that belongs in git.

A file of its own, because pyproject.toml is edited by people and tools, and could not hold its own hash; and not in
``.devserver``, because git ignores that, and a colleague's ``dev new --update`` must know the same as one's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from devserver.errors import ConfigError
from devserver.scaffold.names import Names
from devserver.scaffold.plan import Answers, PlannedFile

FILE = ".dev-new.json"


@dataclass(frozen=True)
class Record:
    """The content of the file.

    :ivar version: of the devserver that made the project, or last updated it.
    :ivar hashes: path → SHA-256 of each file as the template had it.
    """

    version: str
    answers: Answers
    hashes: Mapping[str, str]

    @classmethod
    def of(cls, version: str, answers: Answers, files: Iterable[PlannedFile]) -> Record:
        """The record of a project that has been planned."""
        return cls(version, answers, {each.path: digest(each.content) for each in files})

    def to_file(self) -> PlannedFile:
        """The file that holds it."""
        content = {
            "devserver": self.version,
            "template": self.answers.template,
            "features": list(self.answers.features),
            "names": asdict(self.answers.names),
            "files": dict(sorted(self.hashes.items())),
        }
        return PlannedFile(FILE, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())


def read(folder: Path) -> Record | None:
    """The record of a project; None when it has none.

    :raises ConfigError: the file is there and cannot be understood.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = Names(**{key: str(content["names"][key]) for key in Names.__dataclass_fields__})
        answers = Answers(names, str(content["template"]), tuple(map(str, content["features"])))
        hashes = {str(name): str(value) for name, value in content["files"].items()}
        return Record(str(content["devserver"]), answers, hashes)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigError(
            f"{path} cannot be understood: {type(exc).__name__}: {exc}.", hint="Take it back from git, or remove it."
        ) from exc


def digest(content: bytes) -> str:
    """SHA-256, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
