"""``python -m devserver`` is ``dev``."""

from __future__ import annotations

from devserver.cli.main import main

if __name__ == "__main__":
    main()
