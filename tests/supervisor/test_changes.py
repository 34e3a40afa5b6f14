"""What a changed file means: patterns, verdicts and the folders that are watched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devserver.app.source_loader import content_hash
from devserver.supervisor import changes
from devserver.supervisor.changes import EMPTY, Judge, Loaded, Patterns, Verdict, fingerprint

ROOT = "/home/me/tests/shop"


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.html", f"{ROOT}/index.html", True),
        ("*.html", f"{ROOT}/deep/er/index.html", True),
        ("*.html", f"{ROOT}/index.htm", False),
        ("*.html", f"{ROOT}/index.html.bak", False),
        ("app/*.py", f"{ROOT}/app/main.py", True),
        ("app/*.py", f"{ROOT}/src/app/main.py", True),
        ("app/*.py", f"{ROOT}/app/deep/main.py", False),
        ("app/**", f"{ROOT}/app/deep/main.py", True),
        ("app/**/main.py", f"{ROOT}/app/main.py", True),
        ("app/**/main.py", f"{ROOT}/app/a/b/main.py", True),
        ("migrations", f"{ROOT}/app/migrations/0001.py", True),
        ("migrations/", f"{ROOT}/app/migrations/0001.py", True),
        ("migrations", f"{ROOT}/app/migrations.py", False),
        # What lies above the project is nobody's pattern.
        ("tests", f"{ROOT}/main.py", False),
        ("tests", f"{ROOT}/tests/test_main.py", True),
        ("test_?.py", f"{ROOT}/test_1.py", True),
        ("test_?.py", f"{ROOT}/test_10.py", False),
        ("test_[0-9].py", f"{ROOT}/test_7.py", True),
        ("test_[!0-9].py", f"{ROOT}/test_7.py", False),
        ("a+b.py", f"{ROOT}/a+b.py", True),
        ("a+b.py", f"{ROOT}/aab.py", False),
        ("/home/me/tests/shop/app/*.py", f"{ROOT}/app/main.py", True),
        ("/home/me/tests/shop/app/*.py", f"{ROOT}/other/app/main.py", False),
        ("/home/me/tests/shop/app", f"{ROOT}/app/deep/main.py", True),
        ("/home/me/tests/shop/app/", f"{ROOT}/app/deep/main.py", True),
        ("/srv/**/*.yaml", "/srv/a/b/c.yaml", True),
        ("/srv/*.yaml", "/srv/a/b.yaml", False),
        # A file outside of all folders is known by its name.
        ("*.yaml", "/etc/settings.yaml", True),
        ("etc", "/etc/settings.yaml", False),
    ],
)
def test_pattern_matches_as_people_expect(pattern: str, path: str, expected: bool) -> None:
    assert Patterns([pattern], [ROOT]).match(path) is expected


def test_pattern_with_a_dot_starts_at_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    patterns = Patterns(["./a.py", "../common"], [ROOT])
    assert patterns.match(str(tmp_path / "here" / "a.py"))
    assert not patterns.match(str(tmp_path / "here" / "deep" / "a.py"))
    assert patterns.match(str(tmp_path / "common" / "b.py"))


def test_no_pattern_matches_nothing() -> None:
    assert not Patterns([], [ROOT])
    assert not Patterns([], [ROOT]).match(f"{ROOT}/main.py")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "app").mkdir(parents=True)
    (folder / "main.py").write_text("1")
    (folder / "other.py").write_text("1")
    (folder / "app" / "page.html").write_text("1")
    return folder


def loaded(*paths: Path, importing: bool = False, failed: bool = False) -> Loaded:
    return Loaded(contents={str(path): fingerprint(str(path)) for path in paths}, importing=importing, failed=failed)


def test_loaded_file_counts_when_its_content_differs(root: Path) -> None:
    judge, main = Judge(root=str(root)), root / "main.py"
    known = loaded(main)
    assert judge.judge(str(main), known)[0] is Verdict.SAME
    main.write_text("2")
    assert judge.judge(str(main), known) == (Verdict.RELOAD, fingerprint(str(main)))


def test_file_that_is_not_loaded_counts_only_when_the_app_failed(root: Path) -> None:
    judge, main, other = Judge(root=str(root)), root / "main.py", str(root / "other.py")
    assert judge.judge(other, loaded(main))[0] is Verdict.NOT_LOADED
    assert judge.judge(other, loaded(main, importing=True))[0] is Verdict.UNDECIDED
    assert judge.judge(other, loaded(main, failed=True))[0] is Verdict.RELOAD
    assert judge.judge(str(root / "app" / "page.html"), loaded(main))[0] is Verdict.IGNORED
    assert judge.judge(str(root / "app"), loaded(main, failed=True))[0] is Verdict.IGNORED


@pytest.mark.parametrize("content", ["", None])
def test_file_that_is_empty_or_gone_is_looked_at_again(root: Path, content: str | None) -> None:
    judge, main = Judge(root=str(root)), root / "main.py"
    known = loaded(main)
    if content is None:
        main.unlink()
    else:
        main.write_text(content)
    expected = None if content is None else EMPTY
    assert judge.judge(str(main), known) == (Verdict.AGAIN, expected)
    assert judge.judge(str(main), known, again=True) == (Verdict.RELOAD, expected)


def test_save_without_a_difference_tries_a_failed_app_again(root: Path) -> None:
    judge, main = Judge(root=str(root)), root / "main.py"
    assert judge.judge(str(main), loaded(main, failed=True), settled=False)[0] is Verdict.SAME
    assert judge.judge(str(main), loaded(main, failed=True))[0] is Verdict.RELOAD


def test_excluded_and_written_files_never_count(root: Path) -> None:
    main = root / "main.py"
    known = loaded(main)
    main.write_text("2")
    assert Judge(root=str(root), excludes=["main.*"]).judge(str(main), known)[0] is Verdict.IGNORED
    assert Judge(root=str(root), excludes=[str(main)]).judge(str(main), known)[0] is Verdict.IGNORED
    known.written.add(str(main))
    assert Judge(root=str(root)).judge(str(main), known)[0] is Verdict.IGNORED


def test_included_file_always_counts(root: Path) -> None:
    page = str(root / "app" / "page.html")
    for include in ("*.html", page, f"{root}/**/*.html"):
        judge = Judge(root=str(root), includes=[include])
        assert judge.judge(page, loaded())[0] is Verdict.RELOAD
        assert judge.counts_always(page)


def test_module_below_a_reload_dir_always_counts(root: Path, tmp_path: Path) -> None:
    library = tmp_path / "site-packages" / "library"
    library.mkdir(parents=True)
    module, cache = library / "module.py", library / "__pycache__" / "module.cpython-313.pyc"
    module.write_text("1")
    judge = Judge(root=str(root), reload_dirs=[str(library)])
    # Also where no file would count otherwise: it was asked for.
    assert judge.judge(str(module), loaded())[0] is Verdict.RELOAD
    assert judge.judge(str(cache), loaded())[0] is Verdict.IGNORED
    assert judge.judge(str(library / "data.txt"), loaded())[0] is Verdict.IGNORED


@pytest.mark.parametrize(
    "name",
    ["main.py~", ".main.py.swp", "4913", "#main.py#", ".#main.py", "db.sqlite3-wal", ".git/HEAD", ".venv/lib/a.py"],
)
def test_what_editors_and_tools_write_is_noise(root: Path, name: str) -> None:
    judge = Judge(root=str(root))
    assert judge.noise(str(root / name))
    assert judge.judge(str(root / name), loaded(failed=True))[0] is Verdict.IGNORED


def test_env_file_counts_before_it_exists(root: Path) -> None:
    env = root / ".env"
    judge = Judge(root=str(root), env_files=[str(env)])
    assert judge.judge(str(env), Loaded(contents={str(env): None}, importing=False))[0] is Verdict.SAME
    env.write_text("A=1")
    assert judge.judge(str(env), Loaded(contents={str(env): None}, importing=False))[0] is Verdict.RELOAD


def test_big_file_is_known_by_size_and_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "HASHED_BYTES_MAX", 3)
    model = root / "model.bin"
    model.write_bytes(b"1234")
    before = fingerprint(str(model))
    assert before is not None
    assert before.startswith("stat:4:")
    os.utime(model, (1, 1))
    assert fingerprint(str(model)) != before


def test_big_source_is_known_as_the_source_loader_knows_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "HASHED_BYTES_MAX", 3)
    (root / "main.py").write_bytes(b"1234")
    assert fingerprint(str(root / "main.py")) == content_hash(b"1234")


def test_pipe_is_not_waited_for(root: Path) -> None:
    pipe = root / "pipe"
    os.mkfifo(pipe)
    assert fingerprint(str(pipe)) is None
    assert Judge(root=str(root)).judge(str(pipe), loaded(failed=True))[0] is Verdict.IGNORED


def test_only_folders_of_loaded_files_and_the_root_are_watched(root: Path) -> None:
    (root / "node_modules" / "left-pad").mkdir(parents=True)
    (root / "env").mkdir()
    (root / "env" / "pyvenv.cfg").write_text("")
    (root / "app" / "deep").mkdir()
    page = root / "app" / "page.html"
    plain = Judge(root=str(root))
    assert plain.folders(loaded()) == {str(root)}
    assert plain.folders(loaded(page)) == {str(root), str(root / "app")}
    everything = {str(root), str(root / "app"), str(root / "app" / "deep")}
    assert plain.folders(loaded(failed=True)) == everything
    assert Judge(root=str(root), includes=["*.html"]).folders(loaded()) == everything
    assert Judge(root=str(root), includes=["*.html"], excludes=["deep"]).folders(loaded()) == {
        str(root),
        str(root / "app"),
    }


def test_folder_of_a_link_and_of_its_target_are_watched(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    target = tmp_path / "shared" / "settings.yaml"
    target.write_text("1")
    link = root / "settings.yaml"
    link.symlink_to(target)
    assert Judge(root=str(root)).folders(loaded(link)) == {str(root), str(tmp_path / "shared")}


@pytest.mark.parametrize(
    ("include", "watched"),
    [
        ("outside", {"outside", "outside/deep"}),
        ("outside/one.yaml", {"outside"}),
        ("outside/*.yaml", {"outside"}),
        ("outside/**/*.yaml", {"outside", "outside/deep"}),
        ("outside/*", {"outside", "outside/deep"}),
        ("outside/d*/x.yaml", {"outside", "outside/deep"}),
    ],
)
def test_folders_of_absolute_includes_are_watched_wherever_they_are(
    root: Path, tmp_path: Path, include: str, watched: set[str]
) -> None:
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    judge = Judge(root=str(root), includes=[str(tmp_path / include)])
    outside = {folder for folder in judge.folders(loaded()) if not folder.startswith(str(root))}
    assert outside == {str(tmp_path / name) for name in watched}
