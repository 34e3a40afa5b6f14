"""Times that a server and whoever supervises it must agree on."""

from __future__ import annotations

CANCEL_S = 2.0
"""How long cancelled tasks may take to end. Longer than a rollback, shorter than a supervisor's patience."""
