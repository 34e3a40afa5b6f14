"""For ``pserve``: the server of a Paste file's ``[server:main]``, when that says ``use = egg:devserver#main``.

The section's settings are ours, gunicorn's, or waitress's ``listen``, as with ``dev prod --paste``, which needs no such
line and can have several workers.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from devserver.config.foreign import server_layer
from devserver.errors import ConfigError
from devserver.launch import run

if TYPE_CHECKING:
    from devserver.events import Notice


def serve(app: Any, global_conf: dict[str, str] | None, **settings: str) -> None:  # noqa: ARG001 - PasteDeploy's signature
    """Serves ``app`` until it is stopped (``paste.server_runner``).

    :param settings: name → text, as they stand in the section.
    :raises SystemExit: see :func:`devserver.run`.
    """
    notices: list[Notice] = []
    try:
        layer = server_layer(dict(settings), "[server:main]", "api", notices)
    except ConfigError as exc:
        logging.getLogger("devserver.error").error("%s", f"{exc.message} {exc.hint}".rstrip())
        sys.exit(exc.exit_code)
    for notice in notices:
        logging.getLogger("devserver.error").warning("%s", notice.text)
    run(app, **{name: value for name, (value, _) in layer.values.items()})
