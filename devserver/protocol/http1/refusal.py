"""A request that is refused: the status, and the sentence that says why.

Parsing is pure and raises; the connection catches, answers and closes. The reason goes to the peer and to the log, so
it names the rule that was broken and never repeats the peer's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence


class Refusal(Exception):
    """The peer broke a rule of HTTP or one of the limits.

    :param status: the status code of the answer (RFC 9110 §15.5, §15.6).
    :param reason: one sentence for the body of the answer.
    :param fields: that the answer has besides.
    """

    def __init__(self, status: int, reason: str, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.fields = fields
