"""From what a terminal sends to the keys that were pressed.

Pure. Only printable characters, Enter and nothing else count as keys. Arrow and function keys come as escape sequences
(ECMA-48 §5.4), and what is pasted between two marks of its own (bracketed paste): both are dropped, so that neither
can trigger anything.
"""

from __future__ import annotations

import re

PASTE_ON, PASTE_OFF = b"\x1b[?2004h", b"\x1b[?2004l"
"""Ask the terminal to mark what is pasted, and not to."""
_PASTE_BEGINS, _PASTE_ENDS = b"\x1b[200~", b"\x1b[201~"
# CSI with its parameters, SS3 with one letter, or ESC with one other character (Alt and a key).
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\[O])", re.DOTALL)
_BEGUN_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_WAITING_BYTES_MAX = 64


class Keys:
    """Takes bytes as they come, cut anywhere."""

    def __init__(self) -> None:
        self._waiting = b""
        """The beginning of something."""
        self._pasting = False

    def press(self, data: bytes) -> list[str]:
        """The keys in ``data``: characters, and ``enter``."""
        data, self._waiting = self._waiting + data, b""
        keys: list[str] = []
        while data:
            if self._pasting:
                _, end, data = data.partition(_PASTE_ENDS)
                if not end:
                    # Its mark may have come in part.
                    self._waiting = _[-len(_PASTE_ENDS) + 1 :]
                    break
                self._pasting = False
            elif data.startswith(_PASTE_BEGINS):
                self._pasting = True
                data = data[len(_PASTE_BEGINS) :]
            elif data.startswith(b"\x1b"):
                sequence = _SEQUENCE.match(data)
                if sequence is None:
                    if _BEGUN_SEQUENCE.match(data) and len(data) < _WAITING_BYTES_MAX:
                        self._waiting = data
                    break
                data = data[sequence.end() :]
            else:
                plain, escape, rest = data.partition(b"\x1b")
                data = escape + rest
                for character in plain.decode("utf-8", "ignore"):
                    if character in "\r\n":
                        keys.append("enter")
                    elif character.isprintable():
                        keys.append(character)
        return keys
