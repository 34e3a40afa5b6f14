"""The templates that there are, and made-up ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.errors import DevserverError, UsageError
from devserver.scaffold.catalog import Catalog, load, specificity, template_paths, templates_folder
from devserver.scaffold.plan import VENDORED, unknown_conditions
from tests.support.projects import REPOSITORY, write_files

pytestmark = pytest.mark.once

MANIFEST = """
summary = "Something"

[names]
acme = "package"

[features.db]
summary = "A database"
[features.auth]
summary = "Users"
needs = ["db"]
[features.pages]
summary = "Pages"

[presets]
plain = []
users = ["auth"]
"""
DEPLOY = """
summary = "Elsewhere"
[features.docker]
summary = "An image"
[features.k8s]
summary = "Manifests"
needs = ["docker"]
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    write_files(tmp_path, {"thing/template.toml": MANIFEST, "deploy/template.toml": DEPLOY})
    return load(tmp_path)


def test_checkout_has_its_own_templates() -> None:
    assert templates_folder() == REPOSITORY / "templates"
    presets = load().presets()
    assert list(presets) == ["minimal", "api", "db", "auth", "realtime", "fullstack"]


def test_marks_of_the_templates_name_features_that_exist() -> None:
    catalog = load()
    everywhere = {name for template in catalog.templates for name in catalog.features(template)}
    for template in catalog.templates:
        assert unknown_conditions(template, {*catalog.features(template), VENDORED}) == []
    assert unknown_conditions(catalog.laid_over, {*everywhere, VENDORED}) == []


def test_every_pattern_of_the_templates_is_of_some_file() -> None:
    catalog = load()
    for template in (*catalog.templates, catalog.laid_over):
        paths = template_paths(template.folder)
        for feature in template.features.values():
            unused = [pattern for pattern in feature.files if not any(specificity(path, [pattern]) for path in paths)]
            assert unused == [], (template.name, feature.name)


def test_feature_brings_along_what_it_needs(catalog: Catalog) -> None:
    template, own = catalog.preset("users")
    assert catalog.closure(template, own) == ("db", "auth")
    assert catalog.closure(template, ["k8s", "pages"]) == ("pages", "docker", "k8s")
    assert catalog.closure(template, []) == ()


def test_unknown_template_is_refused_with_what_there_is(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match=r"There is no template user\.") as caught:
        catalog.preset("user")
    assert caught.value.hint == "Did you mean users?"
    with pytest.raises(UsageError) as caught:
        catalog.preset("zzz")
    assert caught.value.hint == "There are plain and users."


def test_unknown_feature_is_refused_with_what_there_is(catalog: Catalog) -> None:
    template, _ = catalog.preset("plain")
    with pytest.raises(UsageError, match=r"The template thing has no feature dbb\.") as caught:
        catalog.closure(template, ["dbb"])
    assert caught.value.hint == "Did you mean db?"


def test_feature_of_another_template_is_refused_with_that_one() -> None:
    catalog = load()
    minimal, _ = catalog.preset("minimal")
    with pytest.raises(UsageError) as caught:
        catalog.closure(minimal, ["db"])
    assert caught.value.hint == "Take another one: --template api."


def test_what_tools_leave_behind_is_not_part_of_a_template(tmp_path: Path) -> None:
    left = [".venv/a", "__pycache__/a.pyc", "x/.mypy_cache/a", "x/node_modules/a", "uv.lock", ".env", "a.db", "b.pyc"]
    write_files(tmp_path, dict.fromkeys([*left, ".env.example", ".gitignore", "x/.hidden/a.py", "a.py"], ""))
    assert template_paths(tmp_path) == [".env.example", ".gitignore", "a.py", "x/.hidden/a.py"]


@pytest.mark.parametrize("manifest", ["summary = ", "", 'summary = "x"\n[features.a]\n'])
def test_unreadable_manifest_is_one_sentence(tmp_path: Path, manifest: str) -> None:
    write_files(tmp_path, {"thing/template.toml": manifest, "deploy/template.toml": DEPLOY})
    with pytest.raises(DevserverError, match="cannot be read") as caught:
        load(tmp_path)
    assert caught.value.hint == "Install devserver again."


def test_no_templates_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DevserverError, match="There are no templates in"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "pattern", "matches"),
    [
        ("a/b.py", "a/b.py", True),
        ("a/b.py", "a/*.py", True),
        ("a/b/c.py", "a/*.py", False),
        ("a/b/c.py", "a/**", True),
        ("a/b/c.py", "**/c.py", True),
        ("c.py", "**/c.py", True),
        ("a/bc.py", "**/c.py", False),
        ("a/b.py", "a/?.py", True),
        ("axb.py", "a.b.py", False),
        ("ab/c", "a/**", False),
    ],
)
def test_pattern(path: str, pattern: str, matches: bool) -> None:
    assert bool(specificity(path, [pattern])) is matches


def test_closer_pattern_is_the_one_that_says_more() -> None:
    path = "src/models/users.py"
    measured = [specificity(path, [each]) for each in (path, "src/models/u*", "src/models/**", "src/**", "**", "x")]
    assert measured == sorted(measured, reverse=True)
    assert len(set(measured)) == len(measured)
    assert specificity(path, ["**", path]) == specificity(path, [path])
