"""The ``[server:main]`` section of a Paste file: settings that stand beside the app that they are for.

Only read here, as text; ``app/paste.py`` makes the app. The names are ours, gunicorn's, and ``listen`` of waitress,
which most of these files are written for.
"""

from __future__ import annotations

from pathlib import Path

from devserver.errors import ConfigError

_IGNORED = frozenset({"use", "paste.server_factory"})
"""Which server it is that reads the section: here it is ours, whatever they say."""


def split(text: str) -> tuple[str, str]:
    """File and section of ``development.ini`` or ``development.ini#name``; ``main`` when it names none."""
    path, _, name = text.partition("#")
    return path, name or "main"


def server_settings(path: Path) -> dict[str, str]:
    """Name → text of ``[server:main]``; empty when there is no such section.

    :raises ConfigError: the file cannot be read, or is no Paste file.
    """
    import configparser  # not at the top: few have a Paste file

    # The names that PasteDeploy itself lends to every file.
    parser = configparser.ConfigParser({"here": str(path.parent), "__file__": str(path)}, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
        if not parser.has_section("server:main"):
            return {}
        # What [DEFAULT] says is for everybody, and names no setting of the server.
        names = parser._sections["server:main"]  # type: ignore[attr-defined]  # noqa: SLF001
        return {name: parser.get("server:main", name) for name in names if name not in _IGNORED}
    except OSError as exc:
        raise ConfigError(f"--paste: cannot read {path} ({exc.strerror}).") from exc
    except (configparser.Error, UnicodeDecodeError) as exc:
        raise ConfigError(f"--paste: {path} is not a Paste file ({str(exc).splitlines()[0]}).") from exc
