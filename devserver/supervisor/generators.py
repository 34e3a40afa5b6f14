"""Random number generators that a process must not share with the processes forked from it.

Code that runs during an import makes generators: ``random.Random()`` in a module, ``numpy.random.default_rng()`` in a
class. A generator that chose its own seed must differ in each process, or workers give out the same "random" names and
ids. A generator that was given a seed must be the same in each process, because somebody wants it so.

Finding out which is which costs nothing in a child: the parent takes notes during its imports, and lists the generators
once, before it forks. Python itself gives ``random``'s global generator a new seed in every fork, chosen or not.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import random
import sys
import weakref
from collections.abc import Callable
from typing import Any

NUMPY = "numpy.random.bit_generator"
"""The module that draws the seeds of numpy's generators."""
NOTED_MAX = 10_000
"""Max generators and states in the notes, because a library may make one for each of its objects. What comes after is
left alone."""

_DRAWN_MIN = 1 << 64
"""Min size of a seed that numpy drew itself (it draws 128 bits), for generators made before we took notes."""
_GLOBAL: random.Random = random._inst  # noqa: SLF001
"""What ``random.random()`` and the other functions of ``random`` use."""
_METHODS = ("seed", "getstate", "setstate")


class Generators:
    """The notes of one process, which its children inherit. Patches are global, so there is one: :data:`generators`."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []
        """Owner, attribute, what we have put there, and what was there before."""
        self._noted: dict[int, tuple[weakref.ref[random.Random], bool]] = {}
        """id() of a generator → it, and whether it chose its seed."""
        self._states: dict[int, bool] = {}
        """Hash of a state that was read → whether its generator had chosen the seed."""
        self._drawn: set[int] = set()
        """Seeds that numpy has drawn."""
        self._drawn_since: set[int] = set()
        """Those of them that were drawn since the last look at all objects."""
        self._chosen: list[random.Random] = []
        self._bit_generators: list[Any] = []
        self._global_state: Any = None

    def watch(self) -> None:
        """Takes notes until :meth:`settle` or :meth:`stop`. A second call changes nothing."""
        if self._undo:
            return
        for name in _METHODS:
            noting = _noting(getattr(random.Random, name), getattr(self, f"_on_{name}"))
            self._replace(random.Random, name, noting)
            # The module's functions are methods that were bound when the module was made.
            self._replace(random, name, noting.__get__(_GLOBAL))
        if NUMPY in sys.modules:
            self.watch_numpy()

    def watch_numpy(self) -> None:
        """Notes the seeds that numpy draws from now on; to be called when :data:`NUMPY` has just been executed."""
        module: Any = sys.modules.get(NUMPY)
        draw = getattr(module, "randbits", None)
        if draw is None or not self._undo or any(owner is module for owner, *_ in self._undo):
            return

        def noting(bits: int) -> int:
            drawn = int(draw(bits))
            if len(self._drawn) < NOTED_MAX:
                self._drawn.add(drawn)
                self._drawn_since.add(drawn)
            return drawn

        self._replace(module, "randbits", noting)

    def stop(self) -> None:
        """Takes no more notes, and undoes what :meth:`watch` has changed."""
        while self._undo:
            owner, name, ours, original = self._undo.pop()
            # Unless somebody has replaced ours.
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)

    def settle(self) -> None:
        """Lists the generators that need new seeds in a child. Call it before forking, and before ``gc.freeze()``."""
        self.stop()
        living = [(found, chose) for ref, chose in self._noted.values() if (found := ref()) is not None]
        self._chosen = [generator for generator, chose in living if chose and generator is not _GLOBAL]
        seeded = any(generator is _GLOBAL and not chose for generator, chose in living)
        self._global_state = _GLOBAL.getstate() if seeded else None
        self._settle_numpy()

    def reseed(self) -> None:
        """Gives a process that was just forked seeds of its own, and keeps those that somebody has set."""
        if self._global_state is not None:
            _GLOBAL.setstate(self._global_state)
        for generator in self._chosen:
            # The method may be a library's own.
            with contextlib.suppress(Exception):
                generator.seed()
        for bits in self._bit_generators:
            with contextlib.suppress(Exception):
                _reseed(bits)

    def _settle_numpy(self) -> None:
        module: Any = sys.modules.get(NUMPY)
        kind = getattr(module, "BitGenerator", None)
        if kind is None:
            return
        known = {id(each) for each in self._bit_generators}
        common = _global_of_numpy()
        found = [common]
        if self._drawn_since - {_entropy(common)}:
            # Not isinstance(): that asks proxies for the class of what they stand for.
            found += [each for each in gc.get_objects() if issubclass(type(each), kind)]
        self._drawn_since.clear()
        for bits in found:
            if bits is not None and id(bits) not in known:
                known.add(id(bits))
                self._bit_generators.append(bits)
        # A generator that got a seed in the meantime has given up the one it drew.
        self._bit_generators = [bits for bits in self._bit_generators if self._has_drawn(bits)]

    def _has_drawn(self, bits: Any) -> bool:
        """Tells whether a generator has the seed that numpy drew for it. ``numpy.random.seed(7)`` takes it away."""
        entropy = _entropy(bits)
        # Nobody may have taken notes when numpy made its global generator.
        return entropy in self._drawn or (bits is _global_of_numpy() and entropy >= _DRAWN_MIN)

    def _replace(self, owner: Any, name: str, ours: Any) -> None:
        self._undo.append((owner, name, ours, getattr(owner, name)))
        setattr(owner, name, ours)

    # What the methods of random.Random tell

    def _on_seed(self, generator: random.Random, arguments: tuple[Any, ...], named: dict[str, Any], _: Any) -> None:
        self._note(generator, (arguments[0] if arguments else named.get("a")) is None)

    def _on_getstate(self, generator: random.Random, _: Any, __: Any, state: Any) -> None:
        if self._undo and len(self._states) < NOTED_MAX:
            noted = self._noted.get(id(generator))
            self._states[hash(state)] = noted is None or noted[0]() is not generator or noted[1]

    def _on_setstate(self, generator: random.Random, arguments: tuple[Any, ...], named: dict[str, Any], _: Any) -> None:
        # Copies of generators, and code that puts back what it has changed.
        state = arguments[0] if arguments else named.get("state")
        with contextlib.suppress(TypeError):
            self._note(generator, self._states.get(hash(state), False))

    def _note(self, generator: random.Random, chose: bool) -> None:
        if not self._undo:
            # Somebody has kept our function.
            return
        if len(self._noted) >= NOTED_MAX:
            self._noted = {key: noted for key, noted in self._noted.items() if noted[0]() is not None}
        if len(self._noted) < NOTED_MAX or id(generator) in self._noted:
            with contextlib.suppress(TypeError):
                self._noted[id(generator)] = (weakref.ref(generator), chose)


def _noting(original: Callable[..., Any], note: Callable[[random.Random, Any, Any, Any], None]) -> Any:
    @functools.wraps(original)
    def noting(self: random.Random, *arguments: Any, **named: Any) -> Any:
        result = original(self, *arguments, **named)
        note(self, arguments, named, result)
        return result

    return noting


def _global_of_numpy() -> Any:
    """The bit generator of numpy's global functions (``numpy.random.random()``); None before they are there."""
    return getattr(getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None), "_bit_generator", None)


def _entropy(bits: Any) -> int:
    """What a bit generator was seeded with, before anything was derived from it; 0 when that is not one number."""
    entropy = getattr(getattr(bits, "seed_seq", None), "entropy", None)
    return entropy if isinstance(entropy, int) else 0


def _reseed(bits: Any) -> None:
    # As pickle does it, which is the public way to exchange the seed sequence as well; spawn() uses that.
    bits.__setstate__(type(bits)().__reduce__()[2])


generators = Generators()
"""The notes of this process."""
