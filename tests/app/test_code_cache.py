"""A cache that is right or silent."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from types import CodeType

import pytest

from devserver.app import code_cache
from devserver.app.code_cache import CodeCache


def compiled(text: str) -> CodeType:
    return compile(text, "x.py", "exec")


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name not in {".gitignore", "pruned"})


def test_what_was_put_is_got_for_the_same_source_and_path_only(tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "deep" / "code")
    assert cache.get("x.py", "h1") is None
    code = compiled("x = 1")
    cache.put("x.py", "h1", code)
    assert CodeCache(tmp_path / "deep" / "code").get("x.py", "h1") == code
    assert cache.get("x.py", "h2") is None
    assert cache.get("y.py", "h1") is None


def test_cache_keeps_itself_out_of_git(tmp_path: Path) -> None:
    CodeCache(tmp_path / "code").put("x.py", "h", compiled(""))
    assert (tmp_path / "code" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 500])
def test_damaged_entries_are_not_loaded(tmp_path: Path, damage: bytes) -> None:
    cache = CodeCache(tmp_path)
    cache.put("x.py", "h", compiled("x = 1"))
    [entry] = entries(tmp_path)
    entry.write_bytes(damage)
    assert cache.get("x.py", "h") is None
    entry.write_bytes(entry.read_bytes()[:-1])
    assert cache.get("x.py", "h") is None


@pytest.mark.parametrize("payload", [b"", b"i\x01\x00\x00\x00", b"?"])
def test_entries_that_hold_something_else_are_not_loaded(tmp_path: Path, payload: bytes) -> None:
    cache = CodeCache(tmp_path)
    cache.put("x.py", "h", compiled("x = 1"))
    [entry] = entries(tmp_path)
    entry.write_bytes(hashlib.blake2b(payload, digest_size=16).digest() + payload)
    assert cache.get("x.py", "h") is None


def test_folder_that_cannot_be_written_turns_the_cache_off(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = CodeCache(tmp_path / "file" / "code")
    cache.put("x.py", "h", compiled("x = 1"))
    cache.put("x.py", "h", compiled("x = 1"))
    assert cache.get("x.py", "h") is None


def test_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(os, "replace", refuse)
    CodeCache(tmp_path).put("x.py", "h", compiled("x = 1"))
    assert entries(tmp_path) == []


def test_oldest_entries_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "ENTRIES_MAX", 8)
    cache = CodeCache(tmp_path)
    for number in range(10):
        cache.put("x.py", str(number), compiled("x = 1"))
        newest = max(entries(tmp_path), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    cache.prune()
    kept = [number for number in range(10) if cache.get("x.py", str(number)) is not None]
    assert kept == [4, 5, 6, 7, 8, 9]


def test_oldest_entries_go_when_they_are_too_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = CodeCache(tmp_path)
    for number in range(4):
        cache.put("x.py", str(number), compiled("x = 1"))
    size = entries(tmp_path)[0].stat().st_size
    monkeypatch.setattr(code_cache, "BYTES_MAX", size * 3)
    cache.prune()
    assert len(entries(tmp_path)) == 2


def test_pruning_is_done_now_and_then_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "ENTRIES_MAX", 4)
    cache = CodeCache(tmp_path)
    for number in range(6):
        cache.put("x.py", str(number), compiled("x = 1"))
    assert len(entries(tmp_path)) == 6
    long_ago = time.time() - 3600
    os.utime(tmp_path / "pruned", (long_ago, long_ago))
    cache.put("x.py", "last", compiled("x = 1"))
    assert len(entries(tmp_path)) == 3
