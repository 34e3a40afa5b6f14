"""What typer is told of the options."""

from __future__ import annotations

import pytest
import typer

from devserver.cli.arguments import spelled
from devserver.cli.commands import build
from devserver.cli.options import COMMON, in_order, shown
from devserver.config import option as options
from devserver.config.settings import fields


def parameters(*, everything: bool) -> dict[str, typer.core.TyperOption]:
    command = typer.main.get_command(build(everything=everything))
    assert isinstance(command, typer.core.TyperGroup)
    found = command.commands["run"].params
    return {str(each.name): each for each in found if isinstance(each, typer.core.TyperOption)}


def test_help_and_reader_know_the_same_spellings() -> None:
    told = {
        spelling
        for name, each in parameters(everything=True).items()
        if name != "help"
        for spelling in (*each.opts, *each.secondary_opts)
    }
    assert told == set(spelled("run"))


def test_short_help_shows_the_options_of_every_day_and_long_help_all() -> None:
    short = {name for name, each in parameters(everything=False).items() if not each.hidden}
    assert short - {"help"} == COMMON & {known.name for known in in_order("run")} - {"app"}
    assert {known.name for command in ("run", "prod") for known in in_order(command)} >= COMMON
    assert not any(each.hidden for each in parameters(everything=True).values())


def test_every_option_has_help_and_a_panel() -> None:
    for name, each in parameters(everything=True).items():
        if name != "help":
            assert each.help
            assert each.rich_help_panel


def test_options_of_programs_are_not_on_the_command_line() -> None:
    names = {known.name for command in ("run", "prod") for known in in_order(command)}
    assert names == {known.name for known in fields() if options.of(known).commands != ("api",)}
    assert "callback_notify" not in names


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "on"),
        (False, "off"),
        (8000, "8000"),
        (0.005, "0.005"),
        (("a", "b"), "a,b"),
        ((("a", "b"), ("c", "d")), "a:b,c:d"),
        ({"version": 1}, "built in"),
    ],
)
def test_value_is_shown_as_it_would_be_written(value: object, text: str) -> None:
    assert shown(value) == text
