"""The test host: a process that has imported pytest, its plugins and what tests take from others, and forks test runs.

``dev run``'s zygote forks it on demand, so that nothing of pytest is ever in a process that serves the app; ``dev test
--watch`` starts one of its own. It is a zygote itself: one thread, no loop, nothing of the project's own.

pytest rewrites the assertions of its plugins when they are imported, and warns of those that were imported before it
could. So they are imported here through the hook that pytest uses, and what the app itself had imported before, such as
anyio, is marked as if it had been.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from devserver.supervisor import imports, worker
from devserver.supervisor.channel import receive_first
from devserver.supervisor.forker import Forker, say
from devserver.supervisor.life import end_with
from devserver.supervisor.plan import Plan
from devserver.supervisor.testing import run
from devserver.supervisor.testing.installed import GROUP, Known, tell_pytest, with_plugins

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_NEEDED = ("runpy", "pytest")
"""What every run imports."""


def from_zygote(sock: socket.socket, listeners: Sequence[int]) -> NoReturn:
    """The whole life of a host that a zygote has just forked.

    :param sock: the host's end of its channel; the plan comes through it.
    :param listeners: descriptors that are none of its business.
    """
    for fd in listeners:
        os.close(fd)
    sock.set_inheritable(False)
    parent = os.getppid()
    end_with(parent)
    try:
        plan = Plan.from_message(receive_first(sock).message)
    except (OSError, EOFError):
        os._exit(0)
    host(sock, plan)


def host(sock: socket.socket, plan: Plan) -> NoReturn:
    """Imports, and forks test runs until the supervisor has gone or wants no more."""
    tests = plan.tests
    if tests is None:
        raise AssertionError("the plan is one of a test host")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.set_environment(plan.environment)
    unfit, skipped = _import_all(plan, tests.rewritten, tests.without)
    if unfit:
        say(sock, {"is": "unfit", "modules": unfit})
        os._exit(0)
    # Made here: in a child it would write to the pages of all these names.
    names = frozenset(sys.modules)
    forks = Host(sock)
    say(sock, {"is": "ready", "count": len(sys.modules), "skipped": skipped})
    channel = forks.serve()
    if channel is None:
        forks.end()
        os._exit(0)
    del forks, sock
    run.run(channel, plan.first_party, tests.root, inherited=names)


class Host(Forker):
    """Forks nothing that would hold what has changed on disk: a run that has begun to write cannot be taken back."""

    def why_not(self) -> str:
        """See :meth:`Forker.why_not`."""
        changed = imports.changed(self.origins)
        return f"{changed} has changed" if changed else super().why_not()

    def end(self) -> None:
        """Ends the runs, with what they have started: whoever wanted them has gone."""
        for pid in self._children.values():
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                os.kill(pid, signal.SIGKILL)


def _import_all(
    plan: Plan, rewritten: Sequence[str], without: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What must not have been imported → why, and what could not be → the error."""
    probe = imports.Probe(plan.first_party, to_fork=True)

    def note(message: object, *_: object, **__: object) -> None:
        # pytest shows the warnings of a run, those of its imports included.
        probe.blame(f"gives a warning when it is imported ({str(message)[:80]})")

    def import_all(names: Iterable[str]) -> bool:
        imports.warm_up([name for name in names if name not in without], plan.first_party, to_fork=True, probe=probe)
        return not probe.unfit

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        if import_all(_NEEDED) and "pytest" in sys.modules:
            installed = with_plugins(sys.path)
            tell_pytest(installed)
            plugins, packages = _plugins(installed)
            with _rewriting([*packages, *rewritten]) as hook:
                marked = _marked(hook)
                if import_all(plugins):
                    late = _marked(hook) - marked
                    if late:
                        # Only a run that imports the plugin itself would know.
                        probe.unfit.update(_registrars(plugins, late))
                    else:
                        import_all(plan.modules)
    return probe.unfit, probe.skipped


def _marked(hook: object) -> set[str]:
    return {*getattr(hook, "_must_rewrite", ())}


def _registrars(plugins: Collection[str], late: Collection[str]) -> dict[str, str]:
    why = f"has pytest rewrite {min(late)}"
    tops = {name.partition(".")[0] for name in late}
    own = [name for name in plugins if name.partition(".")[0] in tops]
    return dict.fromkeys(own or plugins, why)


def _plugins(installed: dict[str, list[Known]]) -> tuple[dict[str, None], set[str]]:
    """The modules of the plugins that pytest would load, and the packages that it would rewrite for their sake."""
    from _pytest.config import _iter_rewritable_modules

    modules: dict[str, None] = {}
    packages: set[str] = set()
    if not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        for distributions in installed.values():
            for each in distributions:
                modules.update(dict.fromkeys(point.module for point in each.entry_points if point.group == GROUP))
                packages.update(_iter_rewritable_modules(str(file) for file in each.files))
    return modules, packages


@contextmanager
def _rewriting(names: Sequence[str]) -> Iterator[Any]:
    """Has pytest rewrite the assertions in modules of these names, and of those below them, as it would itself."""
    # Here, because the modules are to be looked at while they are imported.
    from _pytest.assertion import install_importhook
    from _pytest.config import get_config

    hook = install_importhook(get_config())
    for name in names:
        module = sys.modules.get(name)
        if module is not None and not isinstance(getattr(module, "__loader__", None), type(hook)):
            module.__loader__ = hook
    hook.mark_rewrite(*names)
    try:
        yield hook
    finally:
        sys.meta_path.remove(hook)
