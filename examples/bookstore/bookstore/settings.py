"""Settings, from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Where the books are kept."""

    database: Path = field(default_factory=lambda: Path(os.environ.get("BOOKSTORE_DATABASE", "books.db")))
