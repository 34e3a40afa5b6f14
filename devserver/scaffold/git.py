"""Puts a new project under version control, with what it consists of as the first commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

BRANCH = "main"
MESSAGE = "Start {project} with dev new"

# git sets these for hooks; a project that is made in one belongs to no repository of theirs.
_OF_ANOTHER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")


def start(folder: Path, project: str) -> tuple[bool, str]:
    """Makes a repository and the first commit, unless the folder lies in a repository.

    :returns: whether there is a commit now, and a sentence on what is worth knowing, which may be empty.
    """
    if shutil.which("git") is None:
        return False, "git is not installed, so that there is no repository."
    if _run(folder, "rev-parse", "--is-inside-work-tree").stdout.strip() == "true":
        return False, "This is inside a git repository already; the files are not committed."
    first: list[str] = []
    if not _run(folder, "config", "--get", "init.defaultBranch").stdout.strip():
        first = ["-c", f"init.defaultBranch={BRANCH}"]
    author: list[str] = []
    note = ""
    if not _run(folder, "config", "--get", "user.email").stdout.strip() and "GIT_AUTHOR_EMAIL" not in os.environ:
        author = ["-c", "user.name=dev new", "-c", "user.email=dev-new@localhost"]
        note = "git knows no user.email; to put your name to the first commit: git commit --amend --reset-author"
    # A key to sign with may ask for a pass phrase, and hooks of the user's may need what is not installed yet.
    commit = [*author, "-c", "commit.gpgSign=false", "commit", "--quiet", "--no-verify"]
    commit += ["--message", MESSAGE.format(project=project)]
    for words in ([*first, "init", "--quiet"], ["add", "--all"], commit):
        done = _run(folder, *words)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            return False, f"git made no commit: {said[-1] if said else f'it ended with {done.returncode}'}"
    return True, note


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
    return subprocess.run(
        ["git", *words],
        cwd=folder,
        env={**environ, "GIT_TERMINAL_PROMPT": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
