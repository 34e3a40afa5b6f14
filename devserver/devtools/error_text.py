"""A failure as Markdown and as a problem object: for terminals, for programs, and for pasting into an issue.

The texts have been through the redactor, so control characters are gone; what remains is to keep them from being read
as Markdown. Pure: events in, text out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from devserver.events import AppFailed, AppRaised, Failure, Frame

_BACKTICKS = re.compile("`+")


def headline(failure: Failure) -> str:
    """``ZeroDivisionError: division by zero``."""
    return f"{failure.kind}: {failure.message}" if failure.message else failure.kind


def sentence(failed: AppFailed | AppRaised) -> str:
    """What went wrong, in one sentence."""
    if isinstance(failed, AppFailed):
        return failed.message
    return f"{failed.failure.during or 'The app'} raised {headline(failed.failure)}"


def chain(failure: Failure | None) -> Iterator[Failure]:
    """The failure, its cause, the cause's cause, …"""
    while failure is not None:
        yield failure
        failure = failure.cause


def markdown(failed: AppFailed | AppRaised, *, whole: bool = True) -> str:
    """The error as Markdown that also reads well unrendered, in a terminal.

    :param whole: with the whole traceback at the end.
    """
    first, _, rest = sentence(failed).partition("\n")
    parts = [f"# 500 · {first}"]
    if rest:
        parts.append(_fenced(rest))
    if isinstance(failed, AppFailed) and failed.hint:
        parts.append(f"**Hint:** {failed.hint}")
    for index, failure in enumerate(chain(failed.failure)):
        title = headline(failure)
        if index:
            parts.append("## Caused by")
        if index or isinstance(failed, AppFailed):
            parts.append(_fenced(title))
        parts += [part for frame in reversed(failure.frames) if frame.first_party for part in _frame(frame)]
        framework = sum(not frame.first_party for frame in failure.frames)
        if framework:
            parts.append(f"{framework} framework frame{'' if framework == 1 else 's'} not shown.")
    if whole and failed.failure is not None and failed.failure.traceback:
        parts += ["## Traceback", _fenced(failed.failure.traceback)]
    return "\n\n".join(parts) + "\n"


def problem(failed: AppFailed | AppRaised) -> dict[str, Any]:
    """The error as a problem object (RFC 9457) with extension members for what the terminal shows."""
    members: dict[str, Any] = {**bare_problem(), "detail": sentence(failed)}
    if isinstance(failed, AppFailed) and failed.hint:
        members["hint"] = failed.hint
    if failed.failure is not None:
        members["exceptions"] = [_exception(failure) for failure in chain(failed.failure)]
        members["traceback"] = failed.failure.traceback.splitlines()
    return members


def bare_problem() -> dict[str, Any]:
    """The problem object without details."""
    return {"type": "about:blank", "title": "Internal Server Error", "status": 500}


def _exception(failure: Failure) -> dict[str, Any]:
    frames = [dataclasses.asdict(frame) for frame in reversed(failure.frames)]
    # The user's own frames first, each group with the most recent call first.
    frames.sort(key=lambda frame: not frame["first_party"])
    return {"kind": failure.kind, "message": failure.message, "during": failure.during, "frames": frames}


def _frame(frame: Frame) -> list[str]:
    if not frame.context and not frame.source:
        return [f"{_code(f'{frame.path}:{frame.line}')} in {_code(frame.function)}"]
    context = frame.context or ((frame.line, frame.source),)
    width = max(len(str(number)) for number, _ in context)
    lines = [
        # Number 0 is no line of the file but a mark below the line before it: where a SyntaxError was seen.
        f"{'>' if number == frame.line else ' '} {number or '':>{width}} | {text}".rstrip()
        for number, text in context
    ]
    return [f"{_code(f'{frame.path}:{frame.line}')} in {_code(frame.function)}", _fenced("\n".join(lines), "python")]


def _fenced(text: str, language: str = "") -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in _BACKTICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _code(text: str) -> str:
    fence = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"
