"""Runs other projects' test suites under two servers, and compares them: ``python -m tests.world.suites``.

Started by ``scripts/world suites``, with the checkout as working directory. Exit code 0: nothing unexpected; 1: a test
differs that should not, or the list of expected differences is stale; 2: the suites could not be run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.world.suites.expected import EXPECTED_FILE, parse_expectations
from tests.world.suites.outcome import Verdict, doubtful, judge
from tests.world.suites.report import describe, table
from tests.world.suites.running import Run, again_alone
from tests.world.suites.sources import CHECKOUT, Unusable, environment, locked, source, version_of
from tests.world.suites.suite import SUITES, Suite

REPORT = CHECKOUT / ".devserver" / "world" / "suites.md"
"""Where the last report lies."""


def main(argv: list[str]) -> int:
    """Runs the suites that are named, or all of them, and returns the exit code."""
    names = [suite.name for suite in SUITES]
    parser = argparse.ArgumentParser(prog="scripts/world suites", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SUITE", help=f"one of {', '.join(names)}; default: all")
    parser.add_argument("--bounded", action="store_true", help="run a part that takes about two minutes")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.names if name not in names]:
        parser.error(f"there is no suite {unknown[0]}; there are {', '.join(names)}")
    chosen = [suite for suite in SUITES if suite.name in (options.names or names)]
    if options.bounded:
        chosen = [suite for suite in chosen if suite.bounded]
    try:
        with locked():
            roots = {suite.name: source(suite) for suite in SUITES}
            python = environment(SUITES, [roots[suite.name]["devserver"] for suite in SUITES])
        rows = [
            (suite, version_of(suite.distribution), _verdict(suite, python, roots[suite.name], bounded=options.bounded))
            for suite in chosen
        ]
    except (Unusable, RuntimeError, ValueError) as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 2
    text = table(rows) + "".join("\n" + describe(suite, verdict) for suite, _, verdict in rows)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(text)
    sys.stdout.write(text)
    return 0 if all(verdict.is_good for _, _, verdict in rows) else 1


def _verdict(suite: Suite, python: Path, roots: Mapping[str, Path], *, bounded: bool) -> Verdict:
    arguments = suite.bounded if bounded else suite.arguments
    sys.stderr.write(f"{suite.name}: under {suite.reference} and devserver, side by side\n")
    runs = [
        Run(suite, server, arguments, python=python, root=roots[server]) for server in (suite.reference, "devserver")
    ]
    reference, ours = (run.wait() for run in runs)
    expectations = [line for line in parse_expectations(EXPECTED_FILE.open()) if line.suite == suite.name]
    tests = doubtful(reference, ours, expectations)
    if tests:
        sys.stderr.write(f"{suite.name}: {len(tests)} tests are run again alone\n")
    again = again_alone(suite, tests, python=python, roots=roots)
    return judge(reference, ours, expectations=expectations, again=again, whole=not bounded)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
