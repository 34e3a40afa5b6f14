#!/usr/bin/env bash
# Under gunicorn and granian (WSGI), Django reads an empty body from a chunked upload and answers 200.
#
# Version: Django 5.2.19 (6.1.3 is the same) with gunicorn 27.0.1 and granian 2.8.9; Flask 3.1.3 for comparison.
#
# Guess: an upload with Transfer-Encoding: chunked (curl's `-T -`, a generator given to an HTTP client) arrives like one with
#   Content-Length. Both servers decode the chunks and mark the stream with `wsgi.input_terminated`. If Django could not read
#   such a body, it would answer 411.
#
# What happens: Django's WSGIRequest limits the stream to CONTENT_LENGTH, and takes a missing one for 0. request.body is
#   b"" and request.FILES is empty, with no error. Flask on the same servers reads the upload.
#
# Seen on 2026-11-30 (5 bytes are sent; the app answers how many it reads, and the value of `wsgi.input_terminated`):
#   gunicorn, Django: Content-Length (200, 5, 'True'), chunked (200, 0, 'True')
#   gunicorn, Flask: Content-Length (200, 5, 'True'), chunked (200, 5, 'True')
#   granian, Django: Content-Length (200, 5, 'True'), chunked (200, 0, 'True')
#   granian, Flask: Content-Length (200, 5, 'True'), chunked (200, 5, 'True')
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check Django==5.2.19 Flask==3.1.3 gunicorn==27.0.1 granian==2.8.9 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
import django
import flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

shop = flask.Flask("shop")

@shop.post("/")
def count():
    return f"{len(flask.request.get_data())} {flask.request.environ.get('wsgi.input_terminated')}"

def view(request):
    return HttpResponse(f"{len(request.body)} {request.environ.get('wsgi.input_terminated')}")

urlpatterns = [path("", view)]
settings.configure(ROOT_URLCONF="shop", ALLOWED_HOSTS=["*"])
django.setup()
app = get_wsgi_application()
PY
cat >check.py <<'PY'
import http.client
import sys

from served import free_port, program, serving

def post(port, chunked):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/", body=iter([b"hello"]) if chunked else b"hello", encode_chunked=chunked)
    response = connection.getresponse()
    read, terminated = response.read().decode().split()
    connection.close()
    return response.status, int(read), terminated

def try_out(name, app, *argv):
    port = free_port()
    with serving([program(argv[0]), *(part.format(port=port) for part in argv[1:]), "--log-level", "critical", app], port):
        length, chunked = post(port, False), post(port, True)
    print(f"{name}: Content-Length {length}, chunked {chunked}", flush=True)
    return length, chunked

gunicorn = ("gunicorn", "-b", "127.0.0.1:{port}", "--no-control-socket")
granian = ("granian", "--interface", "wsgi", "--port", "{port}")
seen = [
    try_out("gunicorn, Django", "shop:app", *gunicorn),
    try_out("gunicorn, Flask", "shop:shop", *gunicorn),
    try_out("granian, Django", "shop:app", *granian),
    try_out("granian, Flask", "shop:shop", *granian),
]
whole, empty = (200, 5, "True"), (200, 0, "True")
sys.exit(seen != [(whole, empty), (whole, whole)] * 2)
PY
timeout 100 "$work/venv/bin/python" check.py
