#!/usr/bin/env bash
# urllib, urllib3 and requests take 103 Early Hints for the response: an HTTPError or an empty page in place of the page.
#
# Version: http.client and urllib.request of CPython 3.13.0 (also 3.11.7); urllib3 2.8.0, requests 2.34.2,
#   httpx 0.28.1, aiohttp 3.14.5.
#
# Guess: every client skips interim responses, as RFC 9110 section 15.2 demands even of clients that do not expect one, and
#   returns the 200 that follows.
#
# What happens: http.client skips 100 and no other. It returns status 103 with an empty body, and so do urllib3 and requests,
#   which build on it; `response.ok` and `raise_for_status()` are content with it. urllib.request raises HTTPError, because
#   103 is not 2xx. A server that begins to send hints breaks scripts and health checks. httpx and aiohttp skip 103.
#
# Seen on 2026-11-30 (the server sends 103 with a Link header, then 200 with "hello"):
#   http.client: 103 b''
#   urllib.request: HTTPError 103
#   urllib3: 103 b''
#   requests: 103 b'', ok True
#   httpx: 200 b'hello'
#   aiohttp: 200 b'hello'
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check urllib3==2.8.0 requests==2.34.2 httpx==0.28.1 aiohttp==3.14.5 || exit 2

cat >"$work/check.py" <<'PY'
import asyncio
import http.client
import socket
import sys
import threading
import urllib.error
import urllib.request

import aiohttp
import httpx
import requests
import urllib3

ANSWER = (
    b"HTTP/1.1 103 Early Hints\r\nlink: </shop.css>; rel=preload\r\n\r\n"
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
)

def serve(listener):
    while True:
        client, _ = listener.accept()
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            client.sendall(ANSWER)
            client.shutdown(socket.SHUT_WR)
            # Closing with bytes unread would reset the connection.
            client.recv(1)

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
port = listener.getsockname()[1]
url = f"http://127.0.0.1:{port}/"

def by_http_client():
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    response = connection.getresponse()
    text = f"{response.status} {response.read()}"
    connection.close()
    return text

def by_urllib():
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return f"{response.status} {response.read()}"
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTPError {error.code}"

def by_urllib3():
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        response = pool.request("GET", url)
        return f"{response.status} {response.data}"

def by_requests():
    response = requests.get(url, timeout=10)
    return f"{response.status_code} {response.content}, ok {response.ok}"

def by_httpx():
    response = httpx.get(url, timeout=10)
    return f"{response.status_code} {response.content}"

async def by_aiohttp():
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return f"{response.status} {await response.read()}"

seen = [by_http_client(), by_urllib(), by_urllib3(), by_requests(), by_httpx(), asyncio.run(by_aiohttp())]
for name, text in zip(("http.client", "urllib.request", "urllib3", "requests", "httpx", "aiohttp"), seen, strict=True):
    print(f"{name}: {text}")
sys.exit(seen != ["103 b''", "HTTPError 103", "103 b''", "103 b'', ok True", "200 b'hello'", "200 b'hello'"])
PY
timeout 60 "$work/venv/bin/python" "$work/check.py"
