#!/usr/bin/env bash
# Hypercorn exits with code 0 when the app's startup fails.
#
# Version: hypercorn 0.18.0 with Starlette 1.10.0, against uvicorn 0.54.0 and granian 2.8.9.
#
# Guess: an app that cannot start (its lifespan raises: no database) ends the server with an exit code that is not 0, so that
#   systemd's `Restart=on-failure`, a container's restart policy and `set -e` see a failure.
#
# What happens: Hypercorn's worker ends with the LifespanFailureError on stderr, and the command's exit code is 0: a supervisor
#   that restarts on failure takes the server for finished and leaves it down.
#
# Seen on 2026-11-30 (exit codes):
#   uvicorn: 3
#   granian: 1
#   hypercorn: 0
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check hypercorn==0.18.0 granian==2.8.9 uvicorn==0.54.0 starlette==1.10.0 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
import contextlib

from starlette.applications import Starlette

@contextlib.asynccontextmanager
async def lifespan(app):
    raise ConnectionError("no database")
    yield

app = Starlette(lifespan=lifespan)
PY
cat >check.py <<'PY'
import subprocess
import sys

from served import free_port, program

def exit_code(*argv):
    port = free_port()
    command = [program(argv[0]), *(part.format(port=port) for part in argv[1:]), "shop:app"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    print(f"{argv[0]}: {ended.returncode}")
    return ended.returncode, "no database" in ended.stdout + ended.stderr

uvicorn = exit_code("uvicorn", "--port", "{port}")
granian = exit_code("granian", "--interface", "asgi", "--port", "{port}")
hypercorn = exit_code("hypercorn", "-b", "127.0.0.1:{port}")
print("reason shown:", uvicorn[1], granian[1], hypercorn[1])
sys.exit(not (uvicorn[0] > 0 and granian[0] > 0 and hypercorn[0] == 0))
PY
timeout 100 "$work/venv/bin/python" check.py
