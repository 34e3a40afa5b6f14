"""Where the time of a request went, from the spans that FastAPI itself makes (``fastapi.telemetry``).

It makes them when the app has set up OpenTelemetry's SDK. Neither is imported for this: once the app has brought both
along, its tracer provider is asked to tell of spans that have ended. No provider is ever set, which would take that
from the app.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import MutableMapping
from typing import Any

_PARTS = {
    "fastapi.dependencies": "dependencies",
    "fastapi.endpoint": "endpoint",
    "fastapi.serialization": "response model",
}
"""Span → how it is called here. Background tasks come after the response."""
_NANOSECONDS = 1e9

current: contextvars.ContextVar[MutableMapping[str, float] | None] = contextvars.ContextVar("spans", default=None)
"""Part → seconds, of the request that is being served; sync endpoints run in a thread with a copy of the context."""


def listen() -> None:
    """Is told of spans from here on, if there is a provider by now that tells of them."""
    global _listens
    if _listens or "opentelemetry.sdk.trace" not in sys.modules:
        return
    trace: Any = sys.modules.get("opentelemetry.trace")
    add = getattr(trace.get_tracer_provider(), "add_span_processor", None)
    if add is not None:
        _listens = True
        add(_Processor())


_listens = False


def note(parts: MutableMapping[str, float]) -> str:
    """``dependencies 12 ms, endpoint 480 ms``; empty when nothing is known."""
    return ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in parts.items())


class _Processor:
    """An ``opentelemetry.sdk.trace.SpanProcessor``, as far as its provider looks at it."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        pass

    def _on_ending(self, span: Any) -> None:
        pass

    def on_end(self, span: Any) -> None:
        parts, name = current.get(), _PARTS.get(span.name)
        if parts is not None and name is not None:
            parts[name] = parts.get(name, 0.0) + (span.end_time - span.start_time) / _NANOSECONDS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - its signature
        return True
