"""The reference page in the documentation is what the options are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devserver.config.settings import fields

ROOT = Path(__file__).parents[2]


def test_page_is_not_stale() -> None:
    script = ROOT / "scripts" / "options_page.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_page_names_every_option() -> None:
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for known in fields():
        assert f"| `{known.name}` |" in text
