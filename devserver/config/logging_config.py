"""The logging configuration used when nobody gives another: a plain ``dictConfig`` dictionary in uvicorn's shape.

Programs copy and change such dictionaries, so the keys are part of the public API: formatters and handlers are
called ``default`` and ``access``, loggers ``devserver``, ``devserver.error`` and ``devserver.access``. Classes are
named by their import path, because this module stands to the right of the one that defines them.
"""

from __future__ import annotations

from typing import Any

ACCESS_FORMAT = '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s%(duration)s'
"""Ends with the time that the response took, after a space; ``duration`` is empty for a record that carries none."""

LOGGING_CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {
            "()": "devserver.observe.logging.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "devserver.observe.logging.AccessFormatter",
            "fmt": ACCESS_FORMAT,
            "use_colors": None,
        },
    },
    "handlers": {
        "default": {
            "class": "devserver.observe.logging.StreamHandler",
            "formatter": "default",
            "stream": "ext://sys.stderr",
        },
        "access": {
            "class": "devserver.observe.logging.StreamHandler",
            "formatter": "access",
            "stream": "ext://sys.stdout",
        },
    },
    "loggers": {
        "devserver": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "devserver.error": {"level": "INFO"},
        "devserver.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}
"""What ``log_config`` is by default. Copy it (``copy.deepcopy``) before changing it."""
