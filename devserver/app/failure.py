"""Folds an exception of the app's into plain data, once, where it was raised.

What is left out: devserver's own frames and those of the import machinery. What is bounded: frames, chain, messages and
source lines, because an exception can carry anything. Nothing here raises, however the exception behaves.
"""

from __future__ import annotations

import importlib
import linecache
import os
import traceback
from collections.abc import Container, Iterator
from types import CodeType, TracebackType

from devserver.errors import ClientDisconnected, DevserverError
from devserver.events import Failure, Frame

# A recursion error has a thousand frames; the ends of the stack tell the story.
FRAMES_MAX = 50
CHAIN_MAX = 5
# Generated exceptions can hold a whole document; this is a screenful.
MESSAGE_BYTES_MAX = 4096
TRACEBACK_CHARS_MAX = 65_536
_SOURCE_CHARS_MAX = 500
_CONTEXT_LINES = 3
# A leaf of an exception group lies a few levels deep; more is a cycle or a joke.
_GROUP_DEPTH_MAX = 20

_OWN_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_IMPORT_FILES = frozenset({importlib.__file__})


def fold(exc: BaseException, first_party: Container[str], during: str = "") -> Failure:
    """The exception as a :class:`~devserver.events.Failure`.

    :param exc: what was raised, with its traceback.
    :param first_party: tells the user's own files from all others; see ``FirstParty``.
    :param during: what was being done: ``import``, ``startup``, ``shutdown``, or a request line.
    """
    try:
        return _fold(exc, first_party, during, CHAIN_MAX, {id(exc)}, _printed(exc))
    except Exception:
        return Failure(kind=type(exc).__name__, message="", frames=(), during=during)


def message_of(exc: BaseException) -> str:
    """``str(exc)``, bounded, also when the exception cannot say it."""
    try:
        text = str(exc.msg if isinstance(exc, SyntaxError) and exc.msg else exc)
    except Exception:
        return "(this exception has no readable message)"
    data = text.encode("utf-8", "replace")
    if len(data) > MESSAGE_BYTES_MAX:
        return data[: MESSAGE_BYTES_MAX - 3].decode("utf-8", "ignore") + "…"
    return data.decode("utf-8")


def kind_of(exc: BaseException) -> str:
    """Qualified class name; without the module for built-in exceptions."""
    kind = type(exc)
    module = str(getattr(kind, "__module__", ""))
    name = str(getattr(kind, "__qualname__", kind.__name__))
    return name if module in {"builtins", "__main__", ""} else f"{module}.{name}"


def sentence(failure: Failure) -> str:
    """``ZeroDivisionError: division by zero (main.py:7)``."""
    what = f"{failure.kind}: {failure.message}" if failure.message else failure.kind
    where = place(failure)
    return f"{what} ({where})" if where else what


def place(failure: Failure) -> str:
    """``file:line`` of the user's innermost frame, else of the innermost one; empty when there is none."""
    frames = [frame for frame in failure.frames if frame.first_party] or failure.frames
    return f"{short_path(frames[-1].path)}:{frames[-1].line}" if frames else ""


def is_own(path: str) -> bool:
    """Whether a code file is devserver's, or part of the import machinery."""
    return path.startswith((_OWN_FOLDER, "<frozen importlib")) or path in _IMPORT_FILES


def short_path(path: str) -> str:
    """Relative to the working directory when the file lies below it."""
    try:
        relative = os.path.relpath(path)
    except (ValueError, OSError):
        return path
    return path if relative.startswith("..") else relative


def _fold(
    exc: BaseException, first_party: Container[str], during: str, chain: int, seen: set[int], printed: str
) -> Failure:
    group = exc
    tracebacks = [exc.__traceback__]
    while isinstance(exc, BaseExceptionGroup) and len(tracebacks) < _GROUP_DEPTH_MAX:
        exc = exc.exceptions[0]
        tracebacks.append(exc.__traceback__)
    message = message_of(exc)
    if isinstance(group, BaseExceptionGroup):
        count = _leaves(group)
        message += f" ({'the only exception' if count == 1 else f'first of {count} exceptions'} in {kind_of(group)})"
    frames = [frame for start in tracebacks for frame in _frames(start, first_party)]
    if isinstance(exc, SyntaxError):
        frames += _syntax_frame(exc, first_party)
    cause = None
    following = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if following is None and group is not exc:
        following = group.__cause__ or (None if group.__suppress_context__ else group.__context__)
    if following is not None and chain > 1 and id(following) not in seen:
        seen.add(id(following))
        cause = _fold(following, first_party, "", chain - 1, seen, "")
    return Failure(
        kind=kind_of(exc), message=message, frames=tuple(frames), cause=cause, during=during, traceback=printed
    )


def _leaves(group: BaseExceptionGroup[BaseException], depth: int = 0) -> int:
    if depth >= _GROUP_DEPTH_MAX:
        return len(group.exceptions)
    return sum(_leaves(exc, depth + 1) if isinstance(exc, BaseExceptionGroup) else 1 for exc in group.exceptions)


def _frames(start: TracebackType | None, first_party: Container[str]) -> list[Frame]:
    raw = [(code, line) for code, line in _walk(start) if not is_own(code.co_filename)]
    if len(raw) > FRAMES_MAX:
        half = FRAMES_MAX // 2
        raw = raw[:half] + raw[-half:]
    return [_frame(code.co_filename, line, code.co_qualname, first_party) for code, line in raw]


def _walk(tb: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    while tb is not None:
        code = tb.tb_frame.f_code
        # Lazy entries let linecache ask the module's own loader, so that source inside a zip file is found too.
        linecache.lazycache(code.co_filename, tb.tb_frame.f_globals)
        yield code, tb.tb_lineno or code.co_firstlineno
        tb = tb.tb_next


def _frame(path: str, line: int, function: str, first_party: Container[str]) -> Frame:
    own = path in first_party
    return Frame(
        path=path,
        line=line,
        function=function,
        source=linecache.getline(path, line).strip()[:_SOURCE_CHARS_MAX],
        first_party=own,
        context=_context(path, line) if own else (),
    )


def _context(path: str, line: int) -> tuple[tuple[int, str], ...]:
    lines = linecache.getlines(path)
    first = max(1, line - _CONTEXT_LINES)
    last = min(len(lines), line + _CONTEXT_LINES)
    return tuple((number, lines[number - 1].rstrip()[:_SOURCE_CHARS_MAX]) for number in range(first, last + 1))


def _syntax_frame(exc: SyntaxError, first_party: Container[str]) -> list[Frame]:
    """The place that Python could not read, as if it were the innermost frame; carets follow the line as number 0."""
    path = exc.filename if isinstance(exc.filename, str) else ""
    line = exc.lineno if isinstance(exc.lineno, int) else 0
    if not path or line < 1:
        return []
    text = exc.text if isinstance(exc.text, str) else linecache.getline(path, line)
    context = _context(path, line) or ((line, text.rstrip("\n")[:_SOURCE_CHARS_MAX]),)
    carets = _carets(exc, text)
    if carets:
        place = next((index for index, (number, _) in enumerate(context, start=1) if number == line), len(context))
        context = (*context[:place], (0, carets), *context[place:])
    source = text.strip()[:_SOURCE_CHARS_MAX]
    return [
        Frame(
            path=path, line=line, function="<module>", source=source, first_party=path in first_party, context=context
        )
    ]


def _carets(exc: SyntaxError, text: str) -> str:
    if not isinstance(exc.offset, int) or not 1 <= exc.offset <= _SOURCE_CHARS_MAX:
        return ""
    start = exc.offset - 1
    end = exc.end_offset - 1 if isinstance(exc.end_offset, int) and exc.end_lineno == exc.lineno else exc.offset
    end = min(max(end, exc.offset), max(len(text.rstrip("\n")), exc.offset))
    # Tabs stay tabs, so that the carets stand under their text however wide a tab is shown.
    return "".join("\t" if character == "\t" else " " for character in text[:start].ljust(start)) + "^" * (end - start)


def _printed(exc: BaseException) -> str:
    try:
        printed = traceback.TracebackException.from_exception(exc, compact=True)
        _drop_own(printed, 0, keep_tail=not isinstance(exc, DevserverError | ClientDisconnected))
        text = "".join(printed.format())
    except Exception:
        return f"{kind_of(exc)}: {message_of(exc)}\n"
    if len(text) > TRACEBACK_CHARS_MAX:
        half = TRACEBACK_CHARS_MAX // 2
        text = f"{text[:half]}\n  …\n{text[-half:]}"
    return text.encode("utf-8", "replace").decode("utf-8")


def _drop_own(printed: traceback.TracebackException | None, depth: int, *, keep_tail: bool = False) -> None:
    """Takes our frames out; those at the end stay when something broke in them, because nobody could find it else."""
    if printed is None or depth > _GROUP_DEPTH_MAX:
        return
    frames = list(printed.stack)
    end = len(frames)
    while keep_tail and end and frames[end - 1].filename.startswith(_OWN_FOLDER):
        end -= 1
    kept = [frame for frame in frames[:end] if not is_own(frame.filename)]
    printed.stack = traceback.StackSummary.from_list([*kept, *frames[end:]])
    _drop_own(printed.__cause__, depth + 1)
    _drop_own(printed.__context__, depth + 1)
    for inner in printed.exceptions or ():
        _drop_own(inner, depth + 1)
