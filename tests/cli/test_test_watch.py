"""``dev test --watch``, really run: edits, and the lines that come of them."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.dev_test import dev_test, environment, make_project
from tests.support.reload import PATIENCE_S, Project, until
from tests.support.terminal import OnTerminal, on_terminal

pytestmark = pytest.mark.once

FILES = {
    "shop/__init__.py": "",
    "shop/price.py": "def price():\n    return 1\n",
    "shop/stock.py": "def stock():\n    return 1\n",
    "tests/conftest.py": "",
    "tests/test_price.py": "from shop.price import price\n\ndef test_price():\n    assert price() == 1\n",
    "tests/test_stock.py": "from shop.stock import stock\n\ndef test_stock():\n    assert stock() == 1\n",
    "scripts/seed.py": "",
}


@dataclass
class Watching:
    """A running ``dev test --watch``, and the lines that it has written."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        """Reads until it ends; a thread does."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def summaries(self) -> list[str]:
        """The lines of runs, without their durations."""
        return [re.sub(r" · \d+\.\d+ s", "", line) for line in self.lines if re.search(r" · \d+\.\d+ s", line)]

    def wait(self, count: int) -> str:
        """The line of a run, by number, as soon as it is there."""
        try:
            until(lambda: len(self.summaries) >= count)
        except AssertionError:
            raise AssertionError(f"no run number {count}; but:\n" + "\n".join(self.lines)) from None
        return self.summaries[count - 1]

    def stop(self) -> int:
        """Ctrl+C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def watching(folder: Path, *words: str, **environ: str) -> Iterator[Watching]:
    """It runs until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "devserver", "test", "--watch", *words],
        cwd=folder,
        env=environment(**environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch = Watching(process)
    reader = threading.Thread(target=watch.read, daemon=True)
    reader.start()
    try:
        yield watch
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        process.kill()
        process.wait()
        reader.join(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", FILES)


def test_save_runs_the_test_files_that_hang_on_it(project: Path) -> None:
    with watching(project) as watch:
        assert watch.wait(1) == "2 passed · 2 files"
        (project / "shop" / "price.py").write_text("def price():\n    return 1  # as before\n")
        assert watch.wait(2) == "1 passed · 1 file · shop/price.py"
        (project / "tests" / "test_stock.py").write_text(FILES["tests/test_stock.py"] + "\n\ndef test_more(): ...\n")
        assert watch.wait(3) == "2 passed · 1 file · tests/test_stock.py"
        # Neither a script nor a save without a difference runs anything: the next run is of what comes after them.
        (project / "scripts" / "seed.py").write_text("print()\n")
        (project / "shop" / "price.py").write_text("def price():\n    return 1  # as before\n")
        (project / "tests" / "conftest.py").write_text("# changed\n")
        assert watch.wait(4) == "3 passed · 2 files · tests/conftest.py"
        (project / "pyproject.toml").write_text("[tool.x]\n")
        assert watch.wait(5) == "3 passed · 2 files · pyproject.toml"
        # Nothing but a line for each.
        assert len(watch.lines) == 5
        assert watch.stop() == 0


def test_failure_is_shown_by_pytest_and_its_file_comes_first_afterwards(project: Path) -> None:
    with watching(project) as watch:
        watch.wait(1)
        (project / "shop" / "stock.py").write_text("def stock():\n    return 2\n")
        assert watch.wait(2) == "1 failed · 1 file · shop/stock.py"
        until(lambda: "FAILED tests/test_stock.py::test_stock - assert 2 == 1" in watch.lines)
        assert "E       assert 2 == 1" in watch.lines
        order = "\nimport pytest\n\n@pytest.fixture(autouse=True)\ndef order(request):\n    print(request.node.name)\n"
        order += "    open('order', 'a').write(request.node.name + ' ')\n"
        (project / "tests" / "conftest.py").write_text(order)
        assert watch.wait(3) == "1 failed, 1 passed · 2 files · tests/conftest.py"
        assert (project / "order").read_text() == "test_stock test_price "
        assert watch.stop() == 1


def test_new_and_deleted_test_files_and_new_modules(project: Path) -> None:
    with watching(project) as watch:
        watch.wait(1)
        folder = project / "tests" / "more"
        folder.mkdir()
        (folder / "test_new.py").write_text("import shop.new\n\ndef test_new():\n    assert shop.new.x == 1\n")
        assert watch.wait(2) == "1 error · 1 file · tests/more/test_new.py"
        # What the failed one misses has come.
        (project / "shop" / "new.py").write_text("x = 1\n")
        assert watch.wait(3) == "1 passed · 1 file · shop/new.py"
        (project / "shop" / "new.py").write_text("x = 2\n")
        assert watch.wait(4) == "1 failed · 1 file · shop/new.py"
        (folder / "test_new.py").unlink()
        (project / "shop" / "__init__.py").write_text("# changed\n")
        assert watch.wait(5) == "2 passed · 2 files · shop/__init__.py"
        assert watch.stop() == 0


def test_syntax_errors_are_shown_by_pytest_until_they_are_mended(project: Path) -> None:
    with watching(project) as watch:
        watch.wait(1)
        for number, name in ((2, "shop/price.py"), (4, "tests/test_price.py")):
            (project / name).write_text("def price(:\n")
            assert watch.wait(number) == f"1 error · 1 file · {name}"
            until(lambda: any("SyntaxError" in line for line in watch.lines))
            (project / name).write_text(FILES[name] + f"# {number}\n")
            assert watch.wait(number + 1) == f"1 passed · 1 file · {name}"
        assert watch.stop() == 0


def test_two_saves_of_one_size_within_a_second_are_two(project: Path) -> None:
    with watching(project) as watch:
        watch.wait(1)
        for number in (2, 1, 3, 1):
            count = len(watch.summaries)
            (project / "shop" / "price.py").write_text(f"def price():\n    return {number}\n")
            result = "1 passed" if number == 1 else "1 failed"
            assert watch.wait(count + 1) == f"{result} · 1 file · shop/price.py"


def test_edit_of_an_env_file_runs_all_with_the_new_value(project: Path) -> None:
    (project / ".env").write_text("PRICE=1\n")
    (project / "tests" / "test_price.py").write_text(
        "import os\n\ndef test_price():\n    assert os.environ['PRICE'] == '1'\n"
    )
    with watching(project) as watch:
        assert watch.wait(1) == "2 passed · 2 files"
        (project / ".env").write_text("PRICE=2\n")
        assert watch.wait(2) == "1 failed, 1 passed · 2 files · .env"


def test_save_interrupts_a_run_and_what_it_was_for_still_counts(project: Path) -> None:
    with watching(project) as watch:
        watch.wait(1)
        began = project / "began"
        (project / "tests" / "test_price.py").write_text(
            f"import time\n\ndef test_price():\n    open({str(began)!r}, 'w').close()\n    time.sleep(600)\n"
        )
        until(began.exists)
        (project / "tests" / "test_price.py").write_text(FILES["tests/test_price.py"] + "# quick\n")
        assert watch.wait(2) == "1 passed · 1 file · tests/test_price.py"


def test_files_that_tests_write_themselves_run_nothing(project: Path) -> None:
    (project / "tests" / "test_price.py").write_text(
        "import time\nfrom pathlib import Path\n\ndef test_price():\n"
        "    Path('generated.py').write_text(f'moment = {time.time()}')\n"
        "    Path('data.json').write_text(str(time.time()))\n"
        "    time.sleep(0.5)\n"
        "    assert False\n"
    )
    with watching(project) as watch:
        assert watch.wait(1) == "1 failed, 1 passed · 2 files"
        (project / "shop" / "stock.py").write_text("def stock():\n    return 1  # again\n")
        assert watch.wait(2) == "1 passed · 1 file · shop/stock.py"
        (project / "tests" / "conftest.py").write_text("# changed\n")
        assert watch.wait(3) == "1 failed, 1 passed · 2 files · tests/conftest.py"


def test_arguments_of_pytest_count(project: Path) -> None:
    with watching(project, "-k", "price", "tests/test_price.py", "tests/test_stock.py") as watch:
        assert watch.wait(1) == "1 passed · 2 files"
        (project / "shop" / "price.py").write_text("def price():\n    return 3\n")
        assert watch.wait(2) == "1 failed · 1 file · shop/price.py"


def test_debugger_is_refused_in_a_sentence(project: Path) -> None:
    done = dev_test(project, "--watch", "--pdb")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --pdb needs the terminal, which dev test --watch reads from.")
    (project / "tests" / "test_price.py").write_text("def test_price():\n    breakpoint()\n")
    with watching(project) as watch:
        watch.wait(1)
        until(lambda: any("breakpoint() needs the terminal" in line for line in watch.lines))


def test_workers_of_xdist_run_all_in_a_fresh_process_each_time(project: Path) -> None:
    with watching(project, "-p", "xdist", "-n", "1") as watch:
        assert watch.wait(1).startswith("2 passed")
        said = [line for line in watch.lines if "Each run is a fresh process" in line]
        assert said == ["info: Each run is a fresh process: -p xdist decides which plugins are loaded."]
        # Of another size: the workers are processes of Python's own, which take a save within a second for none.
        (project / "shop" / "price.py").write_text("def price():\n    return 33\n")
        assert watch.wait(2) == "1 failed, 1 passed · shop/price.py"


def test_platform_that_cannot_fork_starts_a_fresh_process_each_time(project: Path) -> None:
    with watching(project, COVERAGE_PROCESS_START="none.cfg") as watch:
        assert watch.wait(1) == "2 passed · 2 files"
        assert "info: Each run is a fresh process: coverage is measured." in watch.lines
        (project / "shop" / "price.py").write_text("def price():\n    return 3\n")
        assert watch.wait(2) == "1 failed · 1 file · shop/price.py"
        assert watch.stop() == 1


def test_keys_run_all_run_what_failed_and_quit(project: Path) -> None:
    (project / "shop" / "stock.py").write_text("def stock():\n    return 2\n")
    with on_a_terminal(project) as terminal:
        terminal.wait("1 failed, 1 passed · 2 files")
        terminal.wait("Enter: run all · f: run failed · q: quit")
        terminal.type("f")
        terminal.wait("1 failed · 1 file")
        terminal.type("a")
        terminal.wait("1 failed, 1 passed · 2 files", 2)
        terminal.type("\r")
        terminal.wait("1 failed, 1 passed · 2 files", 3)
        before = terminal.settings
        terminal.type("q")
        assert terminal.process.wait(PATIENCE_S) == 1
        assert before != terminal.settings


@contextlib.contextmanager
def on_a_terminal(project: Path) -> Iterator[OnTerminal]:
    command = [
        sys.executable,
        "-c",
        "import sys; from devserver.cli.main import invoke; sys.exit(invoke(sys.argv[1:-1]))",
    ]
    with on_terminal(Project(project), command=[*command, "test", "--watch"]) as terminal:
        yield terminal
