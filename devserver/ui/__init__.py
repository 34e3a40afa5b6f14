"""The terminal: what ``dev`` says to the person who runs it.

It sees events and errors and nothing else. ``choice`` decides how to speak, ``narrator`` what to say, ``plain``,
``rich`` and ``json`` how it looks, and ``ui`` puts them together. The stages that announce events import none of it.
"""

from __future__ import annotations

from devserver.ui.ui import UI, make_ui

__all__ = ["UI", "make_ui"]
