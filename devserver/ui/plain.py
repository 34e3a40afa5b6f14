"""Lines as plain text: for pipes, CI jobs, and terminals that know neither colours nor symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devserver.ui.choice import ASCII

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devserver.ui.narrator import Line


class PlainText:
    """Lines without colours.

    :param ascii: the stream cannot print our symbols.
    """

    def __init__(self, *, ascii: bool) -> None:  # noqa: A002 - the word for it
        self._ascii = ascii

    def render(self, lines: Iterable[Line]) -> str:
        """The lines as one text that ends with a line break."""
        text = "".join("".join(text for _, text in line).rstrip() + "\n" for line in lines)
        return text.translate(ASCII) if self._ascii else text
