"""Kinds of text that clients may send."""

from typing import Annotated

from pydantic import StringConstraints

# Not NUL, which PostgreSQL cannot store, and no other control character but tab and line breaks.
_PRINTABLE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_PRINTABLE),
]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=2000, pattern=_PRINTABLE),
]
