"""Memory that a server keeps for the next read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from devserver.server.allocator import keep_freed_memory

FAULTS = """
import os, resource, sys
from devserver.server.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory({})
held = [bytes(100_000) for _ in range(20)]
del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    held = [bytes(100_000) for _ in range(20)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_freed_memory_is_used_again() -> None:
    def faults(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)

    assert faults("keep") * 20 < faults("leave")


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_who_has_set_the_allocator_up_is_left_alone(name: str) -> None:
    assert not keep_freed_memory({name: "1"})
