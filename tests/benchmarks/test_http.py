"""The harness of the benchmarks, once through; how fast anything is, is no test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.serial
def test_quick_run_with_what_is_installed_measures_every_server() -> None:
    command = [sys.executable, "-m", "benchmarks.http", "--quick", "--json", "--python", sys.executable]
    result = subprocess.run(
        [*command, "--cases", "hello", "--servers", "floor", "devserver"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    (case,) = json.loads(result.stdout)["cases"]
    assert case["failures"] == {}
    assert set(case["servers"]) == {"floor", "devserver"}
    assert all(server["median"]["rate"] > 0 and server["median"]["cpu_us"] > 0 for server in case["servers"].values())


def test_list_names_the_cases() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.http", "--list"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("hello ")
