"""llhttp, as httptools binds it: it judges the grammar of heads.

The connection feeds it whole heads, one at a time; it calls back ``on_header``. Callbacks that the connection lacks
cost nothing: httptools looks them up once.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

RequestParser = HttpRequestParser
MALFORMED = (HttpParserError,)
UpgradeRequested = HttpParserUpgrade
"""Raised at the end of a head with an Upgrade that the parser expects to be taken."""

__all__ = ["MALFORMED", "RequestParser", "UpgradeRequested"]
