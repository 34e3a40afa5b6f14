"""Which devserver a project is to depend on: the one that makes it.

From a package index it is asked for by version. One that came from elsewhere (a checkout, a file) is not published, so
that the project keeps a wheel of it, packed from what runs here: the files of the package, the templates, and the
metadata that the installation has. This needs neither a build tool nor the network.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from devserver import __version__
from devserver.errors import DevserverError
from devserver.scaffold.catalog import template_paths, templates_folder

FOLDER = "vendor"
"""Where a project keeps the wheel."""

# The oldest moment that a ZIP file can name: the same files always make the same wheel.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_OF_THE_INSTALLER = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"})


@dataclass(frozen=True)
class Provenance:
    """The devserver that a project depends on.

    :ivar wheel_name: file name of the wheel that the project keeps; empty when it is published.
    :ivar wheel: its content.
    """

    version: str
    wheel_name: str = ""
    wheel: bytes = b""

    @property
    def requirement(self) -> str:
        """``devserver>=1.2,<2``."""
        major, _, rest = self.version.partition(".")
        return f"devserver>={major}.{rest.partition('.')[0]},<{int(major) + 1}"

    @property
    def wheel_path(self) -> str:
        """Where the wheel is in the project; empty without one."""
        return f"{FOLDER}/{self.wheel_name}" if self.wheel_name else ""


def of_this() -> Provenance:
    """The devserver that runs.

    :raises DevserverError: it is neither published nor installed, so that nobody knows what it needs.
    """
    package = Path(__file__).parents[1]
    try:
        installed = distribution("devserver")
    except PackageNotFoundError:
        raise DevserverError(
            "This devserver is not installed, so that no project can depend on it.",
            hint=f"Install it: pip install --editable {package.parent}",
        ) from None
    in_checkout = not (package / "_templates").is_dir()
    # PEP 610: an installer that took it from anywhere but an index leaves this file.
    if not in_checkout and installed.read_text("direct_url.json") is None:
        return Provenance(__version__)
    name = f"devserver-{__version__}-py3-none-any.whl"
    return Provenance(__version__, name, _pack(_contents(package, installed)))


def _contents(package: Path, installed: Distribution) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file in the wheel but its RECORD."""
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        if path.is_file() and path.suffix != ".pyc" and inside.parts[0] != "_templates":
            yield f"devserver/{inside.as_posix()}", path.read_bytes()
    templates = templates_folder()
    for name in template_paths(templates):
        yield f"devserver/_templates/{name}", (templates / name).read_bytes()
    information = f"devserver-{__version__}.dist-info"
    for file in installed.files or ():
        # Only what lies in the folder of the metadata: scripts, and what makes an install editable, are made anew.
        folder, _, name = file.as_posix().partition("/")
        if not folder.endswith(".dist-info") or name in _OF_THE_INSTALLER:
            continue
        content = Path(str(file.locate())).read_bytes()
        if name == "METADATA":
            # A checkout may be of a newer version than at the time it was installed.
            content = content.replace(
                f"\nVersion: {installed.version}\n".encode(), f"\nVersion: {__version__}\n".encode(), 1
            )
        yield f"{information}/{name}", content


def _pack(contents: Iterator[tuple[str, bytes]]) -> bytes:
    """A wheel (PyPA specification "Binary distribution format")."""
    packed = io.BytesIO()
    lines: list[str] = []
    record = ""
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in contents:
            archive.writestr(_entry(name), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(content)}")
            if name.partition("/")[0].endswith(".dist-info"):
                record = f"{name.partition('/')[0]}/RECORD"
        archive.writestr(_entry(record), "\n".join([*lines, f"{record},,", ""]))
    return packed.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    # Permissions, as unpackers under Unix keep them.
    entry.external_attr = 0o100644 << 16
    return entry
