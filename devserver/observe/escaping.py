r"""What a stranger sent, made safe to print on one line.

A path or a header value that reaches a terminal or a log file unchanged can move the cursor, set the window's title or
forge a second line. Every byte that is not printable ASCII, and the quote and the backslash that would end or fake a
field, becomes ``\xHH``, the notation of nginx's access log.
"""

from __future__ import annotations

import re

_SAFE = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')

CLEAN = bytes(byte if byte in _SAFE else byte == 0 for byte in range(256))
"""Changes every byte that needs escaping: ``raw.translate(CLEAN) == raw`` is the cheapest test that none does."""

_ESCAPES = {code: f"\\x{code:02x}" for code in range(256) if code not in _SAFE}

# C0 without tab and line feed, DEL, C1, and the marks that reorder or hide what surrounds them on a terminal.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(raw: bytes) -> str:
    """``raw`` as printable ASCII on one line, free of quotes and lone backslashes."""
    text = str(raw, "latin-1")
    return text.translate(_ESCAPES) if raw.translate(CLEAN) != raw else text


def escape_text(text: str) -> str:
    """The same for text; what is not ASCII is shown as the bytes of its UTF-8 form."""
    return escape(text.encode("utf-8", "surrogatepass"))


def printable(text: str) -> str:
    """``text`` without control characters, for messages of several lines in any language."""
    return _CONTROLS.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
