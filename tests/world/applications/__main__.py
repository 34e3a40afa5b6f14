"""Compare real applications under devserver with the same ones under uvicorn.

    python -m tests.world.applications [NAME...] [--bounded] [--keep] [--self-check]

Prints a table and, below it, every difference. Exit code: 0 when there is none, 1 when there is one or an application
could not be run, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.browser import page
from tests.world.applications.catalogue import APPLICATIONS, Application
from tests.world.applications.comparison import Answer, apply_rules, differences, of_results
from tests.world.applications.environments import InstallError, environment
from tests.world.applications.fetching import Client, everything
from tests.world.applications.interactions import PROGRAMS
from tests.world.applications.serving import MODES, Program, Running, StartError, free_port, serving, traceback_count

MEASURE = "uvicorn"
SHOWN_MAX = 12
"""Max number of differences shown for one application under one server, because one cause often shows in all assets."""
FAILURE_CHARACTERS_MAX = 1500
"""Max length of what is shown of one failure, because a browser lists everything that went wrong before it."""


@dataclass
class Observed:
    """Everything seen of one application under one server."""

    answers: dict[str, Answer] = field(default_factory=dict)
    result: Any = None
    browsed: Any = None
    failures: list[str] = field(default_factory=list)
    tracebacks: int = 0
    left: int = 0
    log: str = ""


@dataclass
class Row:
    """A line of the table, and what is said below it.

    :ivar verdicts: by server: "same", a number of differences, or "failed".
    """

    application: Application
    is_browsed: bool = False
    requests: int = 0
    verdicts: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        return bool(self.verdicts) and set(self.verdicts.values()) == {"same"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the applications that ``arguments`` name, print the table and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.world.applications", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(APPLICATIONS)}")
    parser.add_argument("--bounded", action="store_true", help="run the small ones, without a browser")
    parser.add_argument("--keep", action="store_true", help="keep the environments for the next run")
    parser.add_argument(
        "--self-check", action="store_true", help="compare uvicorn with itself: find what rules must replace"
    )
    parser.add_argument("--logs", type=Path, metavar="DIR", help="write each server's log into DIR")
    options = parser.parse_args(arguments)
    # By default it would end this process at once, and leave its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if unknown := [name for name in options.names if name not in APPLICATIONS]:
        parser.error(f"no application is called {unknown[0]}; there are {', '.join(APPLICATIONS)}")
    chosen = [
        application
        for application in APPLICATIONS.values()
        if (application.name in options.names or not options.names) and (application.bounded or not options.bounded)
    ]
    modes = (
        {"uvicorn again": MODES[MEASURE]} if options.self_check else {k: v for k, v in MODES.items() if k != MEASURE}
    )
    rows: list[Row] = []
    try:
        for application in chosen:
            start = time.monotonic()
            row = compare(application, modes, keep=options.keep, browse=not options.bounded, logs=options.logs)
            rows.append(row)
            seconds = time.monotonic() - start
            print(f"{application.name}: {row.verdicts} in {seconds:.1f} s", file=sys.stderr, flush=True)
    finally:
        print("\n".join(table(rows, list(modes))))
    return 0 if rows and all(row.is_same for row in rows) else 1


def compare(
    application: Application, modes: Mapping[str, tuple[str, ...]], *, keep: bool, browse: bool, logs: Path | None
) -> Row:
    """Run one application under uvicorn and under ``modes``, and say what differs."""
    row = Row(application, is_browsed=browse and application.browse is not None)
    try:
        with (
            environment(application.name, application.requirements, keep=keep) as python,
            tempfile.TemporaryDirectory(prefix="devserver-world-") as made,
        ):
            program = Program(
                python,
                {name: PROGRAMS / source for name, source in application.files.items()},
                application.target,
                application.factory,
                application.environment,
            )
            # The same port and folder each time: both stand in what some applications answer.
            folder, port = Path(made, "site"), free_port()
            expected: Observed | None = None
            for mode, command in {MEASURE: MODES[MEASURE], **modes}.items():
                try:
                    observed = observe(application, program, command, folder, port, browse=browse)
                except StartError as exc:
                    row.verdicts[mode] = "failed"
                    row.said.append(f"{mode}: {exc}")
                    if expected is None:
                        return row
                    continue
                if logs:
                    logs.mkdir(parents=True, exist_ok=True)
                    Path(logs, f"{application.name} {mode}.log".replace(" ", "-")).write_text(observed.log)
                if expected is None:
                    expected = observed
                    row.requests = len(observed.answers)
                    if observed.failures:
                        row.verdicts[mode] = "failed"
                        row.said += [f"{mode}: {failure}" for failure in observed.failures]
                        return row
                    continue
                found = _differences(application, expected, observed)
                row.verdicts[mode] = f"{len(found)} differ" if found else "same"
                row.said += [f"{mode}: {difference}" for difference in found[:SHOWN_MAX]]
                if len(found) > SHOWN_MAX:
                    row.said.append(f"{mode}: and {len(found) - SHOWN_MAX} more")
    except InstallError as exc:
        row.verdicts = dict.fromkeys(modes, "failed")
        row.said.append(f"its environment could not be made: {exc}")
    return row


def observe(
    application: Application, program: Program, command: tuple[str, ...], folder: Path, port: int, *, browse: bool
) -> Observed:
    """Fetch, interact and browse under one server.

    :raises StartError: it does not start. An interaction that fails is among the ``failures``.
    """
    observed = Observed()
    with serving(program, command, folder, port) as running:
        observed.answers = everything(Client(running.url), application.pages, application.others)
        try:
            observed.result = application.interaction[1](running)
        except Exception as exc:
            observed.failures.append(f"interaction: {type(exc).__name__}: {exc}"[:FAILURE_CHARACTERS_MAX])
        if browse and application.browse:
            try:
                observed.browsed = _browsed(application, running, folder.parent)
            except Exception as exc:
                observed.failures.append(f"browser: {exc}"[:FAILURE_CHARACTERS_MAX])
        observed.tracebacks = traceback_count(running.log)
    observed.log = running.log
    observed.left = running.left
    return observed


def _browsed(application: Application, running: Running, folder: Path) -> Any:
    assert application.browse is not None
    with tempfile.TemporaryDirectory(dir=folder) as own:
        with page(Path(own), running.url + application.pages[0]) as shown:
            return {"seen": application.browse(shown), "console": sorted(shown.console)}


def _differences(application: Application, expected: Observed, found: Observed) -> list[str]:
    rules = application.rules
    said = list(found.failures)
    answers = differences(expected.answers, found.answers, rules)
    said += [line for line in answers if not any(re.search(rule.pattern, line) for rule in application.intended)]
    if not found.failures:
        said += [f"interaction: {difference}" for difference in of_results(expected.result, found.result, rules)]
        said += [f"browser: {difference}" for difference in of_results(expected.browsed, found.browsed, rules)]
    if found.tracebacks > expected.tracebacks:
        start = apply_rules(found.log, rules).find("Traceback")
        said.append(f"{found.tracebacks} tracebacks in its log, not {expected.tracebacks}: {found.log[start:][:1500]}")
    if found.left > expected.left:
        said.append(f"{found.left} processes left after its end, not {expected.left}")
    return said


def table(rows: Sequence[Row], modes: Sequence[str]) -> list[str]:
    """Return the lines of the table, and what differs below it."""
    cells = [["application", "version", "requests", "interaction", *modes]]
    for row in rows:
        application = row.application
        cells.append(
            [
                application.name,
                application.version,
                str(row.requests),
                application.interaction[0] + (", in a browser too" if row.is_browsed else ""),
                *(row.verdicts.get(mode, "not run") for mode in modes),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    for row in rows:
        lines += [f"\n{row.application.name}:", *(f"  {said}" for said in row.said)] if row.said else []
    return lines


if __name__ == "__main__":
    sys.exit(main())
