"""Generators of random numbers in processes that are forked: new seeds for those that had chosen their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.reload import CHECKOUT, PATIENCE_S

SCRIPT = """
import os, random, sys
from devserver.supervisor.generators import generators
generators.watch()
{made}
generators.settle()
for _ in range(2):
    if os.fork() == 0:
        generators.reseed()
        print({drawn}, flush=True)
        os._exit(0)
    os.wait()
"""


def children(made: str, drawn: str = "made.random()") -> list[str]:
    """What each of two children draws that are forked from a process that has executed ``made``."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(made=made, drawn=drawn)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    return [first, second]


@pytest.mark.parametrize(
    "made",
    [
        "made = random.Random()",
        "made = random.Random(None)",
        "made = random.Random(); made.random()",
        "made = random.Random(7); made.seed()",
        "made = type('Own', (random.Random,), {})()",
        "import copy; made = copy.copy(random.Random())",
        "made = random.Random(); kept = made.getstate(); made.seed(7); made.setstate(kept)",
        "made = random",
        "kept = random.getstate(); random.seed(7); random.setstate(kept); made = random",
        "random.seed(7); random.seed(); made = random",
    ],
)
def test_generator_that_chose_its_seed_has_another_one_in_each_child(made: str) -> None:
    first, second = children(made)
    assert first != second


@pytest.mark.parametrize(
    "made",
    [
        "made = random.Random(7)",
        "made = random.Random(x=7)",
        "made = random.Random(); made.seed(7)",
        "made = random.Random(); made.seed(a=7)",
        "made = random.Random(); made.setstate(random.Random(7).getstate())",
        "made = type('Own', (random.Random,), {})(7)",
        "random.seed(7); made = random",
        "from random import seed; seed(7); made = random",
    ],
)
def test_generator_that_was_given_a_seed_keeps_it(made: str) -> None:
    alone = subprocess.run(
        [sys.executable, "-c", f"import random\n{made}\nprint(made.random())"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    ).stdout.strip()
    assert children(made) == [alone, alone]


@pytest.mark.parametrize(
    "made",
    [
        "made = numpy.random.default_rng()",
        "made = numpy.random.Generator(numpy.random.Philox())",
        "made = numpy.random.RandomState()",
        "made = numpy.random",
        "made = numpy.random.default_rng().spawn(1)[0]",
    ],
)
@pytest.mark.parametrize("hooked", ["", "generators.watch_numpy(); "], ids=["before", "during"])
def test_generator_of_numpy_that_chose_its_seed_has_another_one_in_each_child(made: str, hooked: str) -> None:
    pytest.importorskip("numpy")
    before = "import numpy.random; "
    if not hooked:
        # numpy was there before anybody took notes.
        before = "generators.stop(); import numpy.random; generators.watch(); "
    first, second = children(before + hooked + made)
    assert first != second


@pytest.mark.parametrize(
    "made",
    [
        "made = numpy.random.default_rng(7)",
        "made = numpy.random.Generator(numpy.random.Philox(7))",
        "made = numpy.random.RandomState(7)",
        "numpy.random.seed(7); made = numpy.random",
        "made = numpy.random.default_rng(numpy.random.SeedSequence(1 << 100))",
    ],
)
def test_generator_of_numpy_that_was_given_a_seed_keeps_it(made: str) -> None:
    pytest.importorskip("numpy")
    first, second = children("import numpy.random; generators.watch_numpy(); numpy.random.default_rng(); " + made)
    assert first == second


def test_children_of_a_reseeded_generator_of_numpy_differ_as_well() -> None:
    pytest.importorskip("numpy")
    made = "import numpy.random; generators.watch_numpy(); made = numpy.random.default_rng()"
    first, second = children(made, "made.spawn(1)[0].random()")
    assert first != second


def test_generator_made_by_a_child_of_a_child_has_another_seed_in_each_of_its_children() -> None:
    made = """
first = random.Random()
generators.settle()
if os.fork():
    os.wait()
    sys.exit()
generators.reseed()
generators.watch()
second = random.Random()
fixed = random.Random(7)
"""
    pairs = [line.split() for line in children(made, "first.random(), second.random(), fixed.random()")]
    differing = [one != other for one, other in zip(*pairs, strict=True)]
    assert differing == [True, True, False]


def test_nothing_is_left_of_the_notes_when_they_end() -> None:
    made = """
before = vars(random.Random)["seed"], random.seed, random.getstate
generators.stop()
after = vars(random.Random)["seed"], random.seed, random.getstate
generators.stop()
"""
    shown = "[hasattr(method, '__wrapped__') for method in (*before, *after)]"
    assert children(made, shown) == ["[True, True, True, False, False, False]"] * 2


def test_method_that_somebody_has_replaced_stays() -> None:
    assert children("random.Random.seed = own = lambda *_: None", "random.Random.seed is own") == ["True"] * 2


def test_generator_that_cannot_be_seeded_does_not_end_the_child() -> None:
    made = """
class Own(random.Random):
    def seed(self, *args):
        if hasattr(self, "made"):
            raise RuntimeError("once")
        self.made = True
        super().seed(*args)
made = [Own(), random.Random()][1]
kept = Own()
"""
    first, second = children(made)
    assert first != second


def test_notes_have_a_limit() -> None:
    made = """
from devserver.supervisor import generators as module
module.NOTED_MAX = 3
many = [random.Random() for _ in range(5)]
many = []
many = [random.Random() for _ in range(5)]
"""
    assert children(made, "len(generators._noted) <= 3, len(generators._chosen)") == ["True 3"] * 2
