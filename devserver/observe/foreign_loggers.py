"""The loggers of uvicorn and gunicorn, which apps written for those servers know by name.

Such an app replaces handlers, adds filters, sets levels or reads handlers there, while it is imported or starts up. So
these loggers begin as copies of ours: the same handlers, level and propagation. When something has changed one of them
since, our records go through it instead of through ours, under its name, so that whatever the app did has the effect
that it has under the other server. Nothing is copied back, and a record goes one way only, so no line comes twice.

Asked once a batch of access lines and once a record of the error log, never in the path of a request.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import NamedTuple

ERROR = ("uvicorn.error", "gunicorn.error")
ACCESS = ("uvicorn.access", "gunicorn.access")
"""The loggers that may stand in for ours; the first that was changed does."""

_ORIGINALS = {
    "uvicorn": "devserver",
    "uvicorn.error": "devserver.error",
    "uvicorn.access": "devserver.access",
    "gunicorn.error": "devserver",
    "gunicorn.access": "devserver.access",
}
"""Which logger each of them is a copy of."""


class _State(NamedTuple):
    handlers: tuple[logging.Handler, ...] = ()
    filters: tuple[object, ...] = ()
    level: int = logging.NOTSET
    propagate: bool = True
    disabled: bool = False


_UNTOUCHED = _State()
_offered: dict[str, _State] = {}
"""How each logger was left by :func:`offer`."""


def offer(*, handlers: bool, families: Container[str] = ("uvicorn", "gunicorn")) -> None:
    """Makes the loggers copies of ours, except those that somebody has changed already.

    :param handlers: whether ours were given handlers; otherwise only a level that ours have is copied.
    :param families: the servers whose loggers are meant.
    """
    for name, original in _ORIGINALS.items():
        if name.partition(".")[0] not in families:
            continue
        theirs, ours = logging.getLogger(name), logging.getLogger(original)
        now, before = _state(theirs), _offered.get(name)
        if _belongs_to_its_server(name):
            _offered[name] = now
        elif now in (_UNTOUCHED, before) or (before is None and not now.handlers):
            # A filter or a level that the program has set before stays, and counts as a change.
            if now.level == logging.NOTSET or now == before:
                theirs.setLevel(ours.level)
            if handlers:
                theirs.handlers = [*ours.handlers]
                theirs.propagate = ours.propagate
            _offered[name] = _state(theirs)._replace(filters=(), level=ours.level, disabled=False)
        else:
            # A preloaded app's doing, or that of the program which is about to serve.
            _offered.setdefault(name, _UNTOUCHED)


def forget() -> None:
    """Takes the loggers as nobody's again; for tests, which put them back."""
    _offered.clear()


def stand_in(ours: logging.Logger, theirs: tuple[str, ...]) -> logging.Logger:
    """Returns the logger that records of ``ours`` go through: the first of ``theirs`` that was changed, or ``ours``.

    :param theirs: :data:`ERROR` or :data:`ACCESS`.
    """
    for name in theirs:
        if _is_changed(name):
            return logging.getLogger(name)
    return ours


def _is_changed(name: str) -> bool:
    offered = _offered.get(name)
    if offered is None:
        return False
    logger = logging.getLogger(name)
    if _state(logger) != offered:
        return True
    parent = name.rpartition(".")[0]
    # The handlers of "uvicorn" are those of "uvicorn.error".
    return logger.propagate and parent in _offered and _state(logging.getLogger(parent)) != _offered[parent]


def _state(logger: logging.Logger) -> _State:
    return _State(
        tuple(logger.handlers), tuple(logger.filters), logger.level, bool(logger.propagate), bool(logger.disabled)
    )


def _belongs_to_its_server(name: str) -> bool:
    """Whether uvicorn or gunicorn has set the family of loggers up in this process, for itself."""
    family = name.partition(".")[0]
    return any(
        type(handler.formatter).__module__.partition(".")[0] == family
        for member in _ORIGINALS
        if member.partition(".")[0] == family
        for handler in logging.getLogger(member).handlers
    )
