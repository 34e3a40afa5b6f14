"""Compiled code on disk, keyed by what was compiled and never by when it was written.

A ``.pyc`` in ``__pycache__`` is trusted when the source's size and its modification time in whole seconds agree, so two
saves of one size within a second run the old code. Here the key is the hash of the source bytes, with the path (a code
object carries it) and everything about the interpreter that shapes bytecode.

The cache is a convenience: whatever goes wrong with it, the code is compiled instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import marshal
import os
import sys
import time
from pathlib import Path
from types import CodeType

# A project of a thousand modules fits three times; past either limit the oldest entries go, down to three quarters.
ENTRIES_MAX = 4096
BYTES_MAX = 64 * 1024 * 1024
# Looking through the whole folder costs milliseconds, so a process does it at most once in so long.
_PRUNE_EVERY_S = 600.0
_STAMP = "pruned"
_DIGEST_BYTES = 16

_INTERPRETER = b"%s %s %d" % (
    (sys.implementation.cache_tag or sys.implementation.name).encode(),
    importlib.util.MAGIC_NUMBER.hex().encode(),
    sys.flags.optimize,
)


class CodeCache:
    """Code objects in one folder. Give it to a :class:`~devserver.app.source_loader.SourceLoader`.

    :param folder: made when the first entry is written; when that is not possible, nothing is cached.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writable = True

    def get(self, path: str, source_hash: str) -> CodeType | None:
        """The code compiled from that source at that path, or None."""
        try:
            data = (self.folder / _key(path, source_hash)).read_bytes()
        except OSError:
            return None
        digest, payload = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        # Damaged marshal data can crash the interpreter, so it is never loaded unchecked.
        if hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest() != digest:
            return None
        try:
            code = marshal.loads(payload)
        except (ValueError, EOFError, TypeError):
            return None
        return code if isinstance(code, CodeType) else None

    def put(self, path: str, source_hash: str, code: CodeType) -> None:
        """Keeps the code; a reader sees the whole entry or none."""
        if not self._writable:
            return
        payload = marshal.dumps(code)
        data = hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest() + payload
        try:
            self._make_folder()
            # Not at the top: it brings the compression libraries, and most starts write nothing.
            import tempfile

            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix="new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(temporary, self.folder / _key(path, source_hash))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            self._prune_now_and_then()
        except OSError:
            self._writable = False

    def prune(self) -> None:
        """Removes the oldest entries until both limits hold."""
        entries: list[tuple[float, int, str]] = []
        with os.scandir(self.folder) as found:
            for entry in found:
                if entry.name in {_STAMP, ".gitignore"}:
                    continue
                with contextlib.suppress(OSError):
                    stat = entry.stat()
                    entries.append((stat.st_mtime, stat.st_size, entry.path))
        count, size = len(entries), sum(entry[1] for entry in entries)
        if count <= ENTRIES_MAX and size <= BYTES_MAX:
            return
        for _, entry_size, path in sorted(entries):
            if count <= ENTRIES_MAX * 3 // 4 and size <= BYTES_MAX * 3 // 4:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            count -= 1
            size -= entry_size

    def _make_folder(self) -> None:
        if self.folder.is_dir():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # The cache lies inside the user's project and must never be committed with it.
        (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")

    def _prune_now_and_then(self) -> None:
        stamp = self.folder / _STAMP
        try:
            fresh = time.time() - stamp.stat().st_mtime < _PRUNE_EVERY_S
        except OSError:
            fresh = False
        if not fresh:
            stamp.touch()
            self.prune()


def _key(path: str, source_hash: str) -> str:
    text = b"\0".join((_INTERPRETER, source_hash.encode(), os.fsencode(path)))
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
