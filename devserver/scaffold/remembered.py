"""What somebody answered the last time, to be offered the next. A convenience: when it cannot be kept, it is not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path


def path(environ: Mapping[str, str]) -> Path:
    """Where the answers are kept (XDG Base Directory Specification)."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "devserver" / "new.json"


def recall(environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Template and features of the last time; both empty when nothing is known."""
    with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
        content = json.loads(path(environ).read_text(encoding="utf-8"))
        return str(content["template"]), tuple(map(str, content["features"]))
    return "", ()


def remember(environ: Mapping[str, str], template: str, features: Sequence[str]) -> None:
    """Keeps the answers."""
    with contextlib.suppress(OSError, RuntimeError):
        kept = path(environ)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"template": template, "features": list(features)}) + "\n", encoding="utf-8")
