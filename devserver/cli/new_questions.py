"""What ``dev new`` asks on a terminal, with what was answered the last time as the default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from devserver.errors import UsageError
from devserver.scaffold.catalog import DEFAULT, Catalog
from devserver.scaffold.names import names_of

_Ask = Callable[[str], str]
_Say = Callable[[str], object]


@dataclass(frozen=True)
class Questions:
    """Asks until an answer will do.

    :ivar ask: shows a prompt and reads a line.
    :ivar say: shows a line.
    :ivar last: template and features of the last time.
    """

    catalog: Catalog
    ask: _Ask
    say: _Say
    last: tuple[str, Sequence[str]] = ("", ())

    def name(self) -> str:
        """How the project is to be called."""
        while True:
            answer = self.ask("Name of the project: ").strip()
            try:
                names_of(answer.rpartition("/")[2])
            except UsageError as exc:
                self.say(f"{exc.message} {exc.hint}")
            else:
                return answer

    def template(self) -> str:
        """Which template it is to be made of."""
        presets = self.catalog.presets()
        default = next((name for name in (self.last[0], DEFAULT) if name in presets), next(iter(presets)))
        for line in templates(self.catalog):
            self.say(f"  {line}")
        while True:
            answer = self.ask(f"Template [{default}]: ").strip() or default
            if answer in presets:
                return answer
            self.say(f"There is no template {answer}.")

    def features(self, template: str) -> tuple[str, ...]:
        """What it is to have beside what the template has."""
        project, own = self.catalog.preset(template)
        has = self.catalog.closure(project, own)
        known = {name: each for name, each in self.catalog.features(project).items() if name not in has}
        default = " ".join(name for name in self.last[1] if name in known)
        width = max(map(len, known), default=0)
        for name, feature in known.items():
            self.say(f"  {name:<{width}}  {feature.summary}")
        while True:
            answer = self.ask(f"Features, with spaces between, or none [{default or 'none'}]: ").strip() or default
            wanted = () if answer in {"none", "-"} else tuple(answer.replace(",", " ").split())
            unknown = [name for name in wanted if name not in known and name not in has]
            if not unknown:
                return wanted
            self.say(f"There is no feature {unknown[0]}.")


def templates(catalog: Catalog) -> list[str]:
    """A line for each template, with what it is."""
    rows = []
    for name, (template, features) in catalog.presets().items():
        summaries = [template.features[feature].summary for feature in features]
        rows.append((name, "; ".join(summaries) or template.summary))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {summary}" for name, summary in rows]
