#!/usr/bin/env bash
# watchfiles stops reporting a watched file after its first atomic save, and calls the save of a file in a folder "added".
#
# Version: watchfiles 1.3.0 on Linux (inotify).
#
# Guess: an editor or a deployment that writes a temporary file and renames it over config.toml is reported as "modified" each
#   time, whether the file or its folder is watched.
#
# What happens: inotify watches the inode. Watching the file reports the first save, as "modified" and "deleted" in one set,
#   and nothing after it: the new file of the same name is not watched, and watch() goes on waiting without a word.
#   Watching the folder reports every save, but as "added" and never as "modified", so a filter that only looks for modified
#   files never sees one.
#
# Seen on 2026-11-30 (three saves, 1 s apart):
#   file watched: ['deleted', 'modified']
#   folder watched: ['added'] ['added'] ['added']
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check watchfiles==1.3.0 || exit 2
cd "$work"

cat >check.py <<'PY'
import os
import sys
import tempfile
import threading
import time

import watchfiles

def watch(target, folder):
    """Return the sets of changes of config.toml that three atomic saves cause."""
    stop = threading.Event()

    def save():
        time.sleep(1)
        for text in ("b", "c", "d"):
            # The temporary file lies elsewhere on the same disk, so that only one name changes in the folder.
            with open(f"{folder}.new", "w") as file:
                file.write(text)
            os.replace(f"{folder}.new", f"{folder}/config.toml")
            time.sleep(1)
        stop.set()

    saver = threading.Thread(target=save)
    saver.start()
    seen = []
    for changes in watchfiles.watch(target, stop_event=stop, step=50, debounce=400, raise_interrupt=False, force_polling=False):
        seen.append(sorted(change.name for change, path in changes if path.endswith("config.toml")))
    saver.join()
    return seen

results = []
for kind in ("file", "folder"):
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        open(f"{folder}/config.toml", "w").close()
        time.sleep(0.5)
        results.append(watch(f"{folder}/config.toml" if kind == "file" else folder, folder))
    print(f"{kind} watched:", *results[-1])
sys.exit(results != [[["deleted", "modified"]], [["added"]] * 3])
PY
timeout 60 "$work/venv/bin/python" check.py
