"""The whole examination: all checks in one list, none of which can end it."""

from __future__ import annotations

from collections.abc import Sequence

from devserver.supervisor.doctor import machine, project, python
from devserver.supervisor.doctor.case import ERROR, NOTE, SEVERITIES, Case, Check, Finding

CHECKS: tuple[tuple[str, Check], ...] = (
    ("settings", project.settings),
    ("app", project.app),
    ("address", machine.address),
    ("Python", python.version),
    ("flags", python.flags),
    ("packages", python.packages),
    ("environment", python.environment),
    ("reload mode", python.reload_mode),
    ("checkpoints", python.checkpoints),
    ("watching", machine.polling),
    ("folders", machine.watched_folders),
    ("env files", project.env_files),
    (".env.example", project.env_example),
    ("event loop", project.loop_policy),
    ("cache", project.cache),
    ("clock", project.clock),
    ("limits", machine.limits),
    ("/proc", machine.proc),
    ("process names", python.process_name),
)
"""What is looked at, and how."""


def examine(case: Case, checks: Sequence[tuple[str, Check]] = CHECKS) -> tuple[Finding, ...]:
    """All findings, the worst first. A check that fails is a finding itself."""
    found: list[Finding] = []
    for name, check in checks:
        try:
            found += check(case)
        except Exception as exc:
            reason = " ".join(f"{type(exc).__name__}: {exc}".split())
            found.append(Finding(NOTE, f"{name[:1].upper()}{name[1:]} could not be checked ({reason})."))
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: SEVERITIES.index(finding.severity)))


def is_serious(findings: Sequence[Finding]) -> bool:
    """Whether something does not work."""
    return any(finding.severity == ERROR for finding in findings)
