"""Figures as text for programs that collect them: Prometheus' exposition format 0.0.4, and statsd's lines; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Family:
    """One metric.

    :ivar kind: ``counter``, ``gauge`` or ``histogram``.
    :ivar samples: (suffix of the name, labels, value) of each.
    """

    name: str
    help: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    def add(self, value: float, *, suffix: str = "", **labels: str) -> None:
        """Adds a sample."""
        self.samples.append((suffix, labels, value))

    def add_histogram(self, counts: Sequence[int], bounds: Sequence[float], total: float) -> None:
        """Adds the buckets, the sum and the count of a histogram.

        :param counts: how many fell into each bucket; one more than there are bounds.
        """
        so_far = 0
        for count, bound in zip(counts, [*(f"{bound:g}" for bound in bounds), "+Inf"], strict=True):
            so_far += count
            self.add(so_far, suffix="_bucket", le=bound)
        self.add(total, suffix="_sum")
        self.add(so_far, suffix="_count")


def prometheus(families: Iterable[Family]) -> str:
    """The text that a scrape gets."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for suffix, labels, value in family.samples:
            shown = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
            lines.append(f"{family.name}{suffix}{f'{{{shown}}}' if shown else ''} {_number(value)}")
    return "\n".join(lines) + "\n"


def statsd(prefix: str, counters: dict[str, float], gauges: dict[str, float], timings_ms: dict[str, float]) -> bytes:
    """The lines of one datagram."""
    lines = [f"{prefix}.{name}:{_number(value)}|c" for name, value in counters.items() if value]
    lines += [f"{prefix}.{name}:{_number(value)}|g" for name, value in gauges.items()]
    lines += [f"{prefix}.{name}:{_number(value)}|ms" for name, value in timings_ms.items()]
    return "\n".join(lines).encode("ascii", "replace")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return f"{int(value)}" if float(value).is_integer() else f"{value:.6f}".rstrip("0")
