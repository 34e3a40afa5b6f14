"""The app's lifespan as programs know it that drive a server step by step: made of a Config, started by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devserver.app.lifespan import Lifespan
from devserver.events import Emitter

if TYPE_CHECKING:
    from collections.abc import Container

    from devserver.supervisor.embedded_config import Config


class EmbeddedLifespan(Lifespan):
    """What ``config.lifespan_class(config)`` makes.

    :param config: loaded.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config.loaded_app, mode=config.lifespan, emitter=Emitter(), first_party=())
        self.should_exit = False
        """Whether startup has failed."""

    def adopt(self, emitter: Emitter, first_party: Container[str]) -> None:
        """Tells ``emitter`` what happens from now on.

        :param first_party: tells the user's own files when an exception is folded.
        """
        self._emitter, self._first_party = emitter, first_party

    async def startup(self, timeout_s: float | None = None) -> None:
        """See :meth:`devserver.app.lifespan.Lifespan.startup`; nothing when it was called before."""
        if self._phase != "new":
            return
        self.should_exit = True
        await super().startup(timeout_s)
        self.should_exit = False
