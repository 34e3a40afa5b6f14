"""The checkpoints of one import, in its order: which of them an import that begins now may go on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.supervisor.forked import Checkpoint


class Chain:
    """The checkpoints, each of which was left by a worker that had gone on from the one before it.

    :param length_max: how many there may be; 0 for none.
    """

    def __init__(self, length_max: int) -> None:
        self.length_max = length_max
        self.difference = ""
        """What had changed when one was last taken out for that."""
        self._links: list[Checkpoint] = []

    @property
    def links(self) -> Sequence[Checkpoint]:
        """All of them, in the order of the import."""
        return tuple(self._links)

    @property
    def last(self) -> Checkpoint | None:
        """The one that has imported most."""
        return self._links[-1] if self._links else None

    def __contains__(self, link: object) -> bool:
        return link in self._links

    def add(self, checkpoint: Checkpoint) -> None:
        """Adds one that was left by a worker of the last one."""
        self._links.append(checkpoint)

    def drop(self, checkpoint: Checkpoint) -> list[Checkpoint]:
        """Takes one out that has ended, with those that come after it; returns them."""
        return self._cut(self._links.index(checkpoint)) if checkpoint in self._links else []

    def clear(self) -> list[Checkpoint]:
        """Takes all of them out; returns them."""
        return self._cut(0)

    def settle(self, wanted: Sequence[str]) -> list[Checkpoint]:
        """Takes out those that hold what has changed on disk; returns them.

        When it is full, so that the file that was saved last can have none, those go as well that stand in its way.

        :param wanted: the files that are saved most, the last one last.
        """
        kept = len(self._links)
        # Each has imported all that the one before it had.
        self.difference = ""
        while kept and (difference := self._links[kept - 1].record.difference()):
            self.difference = difference
            kept -= 1
        if kept >= self.length_max and wanted and wanted[-1] not in self.paths[:kept]:
            kept = next((index for index, path in enumerate(self.paths[:kept]) if path not in wanted), kept)
        return self._cut(kept)

    @property
    def paths(self) -> list[str]:
        """The files that workers of each begin with."""
        return [link.path for link in self._links]

    def _cut(self, kept: int) -> list[Checkpoint]:
        cut, self._links = self._links[kept:], self._links[:kept]
        return cut
