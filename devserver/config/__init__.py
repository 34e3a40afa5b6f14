"""Settings, and where they come from. Plain data: nothing here opens a socket, sets up logging or imports the app.

The names below are loaded on first use (PEP 562): a program that only wants ``Config`` does not pay for the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devserver.config.discovery import FirstParty, find_target, project_root
    from devserver.config.logging_config import LOGGING_CONFIG
    from devserver.config.settings import Config
    from devserver.config.sources import Resolved, complete, resolve
    from devserver.config.target import Target

__all__ = [
    "LOGGING_CONFIG",
    "Config",
    "FirstParty",
    "Resolved",
    "Target",
    "complete",
    "find_target",
    "project_root",
    "resolve",
]

_HOMES = {
    "Config": "settings",
    "FirstParty": "discovery",
    "LOGGING_CONFIG": "logging_config",
    "Resolved": "sources",
    "Target": "target",
    "complete": "sources",
    "find_target": "discovery",
    "project_root": "discovery",
    "resolve": "sources",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"devserver.config.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
