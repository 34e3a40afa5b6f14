"""Which event loop runs."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest

from devserver.errors import ConfigError
from devserver.server import loop as loops


async def _kind() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.parametrize(("name", "module"), [("auto", "uvloop"), ("uvloop", "uvloop"), ("asyncio", "asyncio")])
def test_a_name_selects_the_loop(name: str, module: str) -> None:
    assert loops.run(_kind(), name) == module


def test_an_import_string_names_a_factory() -> None:
    assert loops.run(_kind(), "asyncio:new_event_loop") == "asyncio"


def test_new_loop_is_closed_by_its_caller() -> None:
    loop = loops.new_loop("asyncio")
    assert not loop.is_running()
    loop.close()


@pytest.mark.parametrize("name", ["fast", "no_such_module:loop", "asyncio:no_such_loop", "asyncio:__doc__", ":x"])
def test_a_name_that_leads_nowhere_is_told_in_a_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match=name.partition(":")[2] or name):
        loops.run(_kind(), name)


def test_uvloop_missing_falls_back_only_when_it_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loops.run(_kind(), "auto") == "asyncio"
    with pytest.raises(ConfigError, match="uvloop is not installed"):
        loops.run(_kind(), "uvloop")


@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
def test_a_thread_that_still_works_does_not_hold_the_end_of_a_command(name: str) -> None:
    release = threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, release.wait, 20)
        await asyncio.sleep(0)

    begun = time.monotonic()
    loops.run(main(), name, wait_for_threads=False)
    assert time.monotonic() - begun < 10
    release.set()
