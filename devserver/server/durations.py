"""Times that a server and whoever supervises it must agree on."""

from __future__ import annotations

CANCEL_S = 2.0
"""How long cancelled tasks may take to end. Longer than a rollback, shorter than a supervisor's patience."""

SAME_SIGNAL_S = 0.5
"""A second signal within this time of the first is the same one, delivered twice: process runners do so within
milliseconds, and nobody presses Ctrl+C twice as quickly and means more than once."""
