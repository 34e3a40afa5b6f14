"""What ``dev doctor`` shows: findings as sentences, the worst first, each with its place and its remedy."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from devserver.app.redact import visible
from devserver.ui.narrator import count

if TYPE_CHECKING:
    from devserver.supervisor.doctor.case import Finding

_WIDTH_MAX = 100
"""Sentences that are longer are hard to read, however wide the terminal is."""
_INDENT = "  "


def report(findings: Sequence[Finding], looked_at: Sequence[str], *, width: int | None = None) -> str:
    """The findings, and how many there are of each kind; one line when all is well.

    :param looked_at: what was examined.
    :param width: of the terminal; None when there is none.
    """
    if not findings:
        return "\n".join(_paragraph("All is well. ", f"Looked at {', '.join(looked_at)}.", width))
    lines: list[str] = []
    for finding in findings:
        lines += _paragraph(f"{finding.severity}: ", finding.what, width)
        if finding.where and finding.where not in finding.what:
            lines += _paragraph(f"{_INDENT}in:   ", finding.where, None)
        if finding.remedy:
            # Commands are copied, so that a line of one is not broken.
            lines += _paragraph(f"{_INDENT}hint: ", finding.remedy, None if _is_command(finding.remedy) else width)
        lines.append("")
    kinds = Counter(finding.severity for finding in findings)
    return "\n".join([*lines, f"{', '.join(count(number, kind) for kind, number in kinds.items())}."])


def _is_command(remedy: str) -> bool:
    return not remedy.endswith(".")


def _paragraph(label: str, text: str, width: int | None) -> list[str]:
    text = visible(" ".join(text.split()))
    if width is None:
        return [label + text]
    return textwrap.wrap(
        text,
        min(width, _WIDTH_MAX),
        initial_indent=label,
        subsequent_indent=" " * (len(label) if label[0] == " " else len(_INDENT)),
        break_long_words=False,
        break_on_hyphens=False,
    )
