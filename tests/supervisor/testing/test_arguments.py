"""Which of pytest's arguments need a fresh process."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.supervisor.testing.arguments import added, why_plain
from tests.support.projects import write_files


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--cov", "--cov measures coverage"),
        ("-x --cov=app -q", "--cov measures coverage"),
        ("--cov-report=html", "--cov-report measures coverage"),
        ("-n 4", "-n 4 runs tests in processes of its own"),
        ("-n4", "-n4 runs tests in processes of its own".replace("-n4", "-n 4")),
        ("-xvn auto", "-n auto runs tests in processes of its own"),
        ("--numprocesses=2", "--numprocesses 2 runs tests in processes of its own"),
        ("--dist loadfile", "--dist loadfile runs tests in processes of its own"),
        ("--pdb", "--pdb starts a debugger"),
        ("--trace", "--trace starts a debugger"),
        ("--pdbcls=a:b", "--pdbcls starts a debugger"),
        ("-p no:cacheprovider", "-p no:cacheprovider decides which plugins are loaded"),
        ("-pno:x", "-p no:x decides which plugins are loaded"),
        ("--rootdir x", "--rootdir names the configuration"),
        ("-c x.ini", "-c x.ini names the configuration"),
        ("-o addopts=--pdb", "-o addopts names the configuration"),
        ("--override-ini addopts=", "--override-ini names the configuration"),
        ("@words.txt", "@words.txt reads arguments from a file"),
    ],
)
def test_what_needs_a_fresh_process_is_found_with_its_reason(words: str, why: str) -> None:
    assert why_plain(words.split()) == why


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-q -x tests/test_a.py::test_b",
        "-k -n",
        "-m n",
        "-rA -vv --lf --ff -s",
        "-xk p",
        "-n auto -n0",
        "--numprocesses auto -n 0",
        "-n 4 --dist no",
        "--cov=app --no-cov",
        "-W error::DeprecationWarning",
        "-o cache_dir=x",
        "--junitxml=out.xml --durations=3",
        "-- --pdb",
        "-",
    ],
)
def test_all_else_may_be_forked(words: str) -> None:
    assert why_plain(words.split()) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\naddopts = -n 2\n"),
        (".pytest.ini", "[pytest]\naddopts =\n    -n\n    2\n"),
        ("tox.ini", "[tox]\nx = %(y)s\n[pytest]\naddopts = -n 2\n"),
        ("setup.cfg", "[tool:pytest]\naddopts = -n 2\n"),
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "-n 2"\n'),
        ("pyproject.toml", '[tool.pytest]\naddopts = ["-n", "2"]\n'),
        ("pytest.toml", '[pytest]\naddopts = ["-n", "2"]\n'),
    ],
)
def test_options_of_each_configuration_file_are_read(tmp_path: Path, name: str, text: str) -> None:
    write_files(tmp_path, {f"project/{name}": text, "project/tests/unit/test_a.py": "", "setup.cfg": "[x]\n"})
    (tmp_path / "project" / name).write_text(text)
    for folder in (tmp_path / "project", tmp_path / "project" / "tests"):
        assert added({}, folder, []) == (["-n", "2"], "")
    assert added({}, tmp_path, ["project/tests/unit/test_a.py::test_x", "-q"]) == (["-n", "2"], "")
    assert added({}, tmp_path, ["-q"]) == ([], "")


def test_first_file_that_has_something_for_pytest_counts(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "pyproject.toml": "[project]\n",
            "tox.ini": "[pytest]\naddopts = -x\n",
            "setup.cfg": "[tool:pytest]\naddopts = -v\n",
        },
    )
    assert added({"PYTEST_ADDOPTS": "-k 'a b'"}, tmp_path, []) == (["-x", "-k", "a b"], "")
    (tmp_path / "pytest.ini").write_text("")
    assert added({}, tmp_path, []) == ([], "")


def test_configuration_that_cannot_be_read_is_left_to_pytest(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool\n")
    assert added({}, tmp_path, []) == ([], "the configuration cannot be read")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "tox.ini").write_text("addopts\n")
    assert added({}, tmp_path, [])[1]
    (tmp_path / "tox.ini").unlink()
    assert added({"PYTEST_ADDOPTS": "'"}, tmp_path, [])[1]
