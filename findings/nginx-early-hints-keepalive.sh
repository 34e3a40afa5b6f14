#!/usr/bin/env bash
# nginx holds back a page that follows 103 Early Hints until the upstream closes its connection.
#
# Version: nginx 1.22.1 (Debian 12). Newer releases have an `early_hints` directive and are not judged here.
#
# Guess: nginx does not know 103, so it drops the interim response (or forwards it) and passes the final response on at once.
#   The version of HTTP that nginx speaks to the upstream makes no difference.
#
# What happens: with `proxy_http_version 1.1` and a kept-alive upstream connection, nginx takes the 103 for the response and
#   everything after it for its content, which ends only when the upstream closes. The client sees the page when the
#   upstream's keep-alive timeout is over. With HTTP/1.0 to the upstream, which closes after each response, it comes at once.
#
# Seen on 2026-11-30, with an upstream that keeps its connection open for 3 s, time until the page is there:
#   http/1.1 upstream, no 103:   0.0 s
#   http/1.1 upstream, with 103: 3.0 s
#   http/1.0 upstream, with 103: 0.0 s
set -euo pipefail

nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || { echo "nginx is not installed" >&2; exit 2; }
"$nginx" -v 2>&1 | grep -q 'nginx/1\.22\.' || { echo "this finding is about nginx 1.22" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/check.py" <<'PY'
import os, socket, subprocess, sys, threading, time

nginx, work = sys.argv[1:]
KEEP_ALIVE_S = 3

def serve(client):
    version = b""
    with client:
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(65536)
            if not more:
                return
            head += more
        hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n" if b" /hints " in head else b""
        client.sendall(hints + b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello")
        if b"HTTP/1.1\r\n" in head and b"connection: close" not in head.lower():
            client.settimeout(KEEP_ALIVE_S)
            try:
                client.recv(1)
            except TimeoutError:
                pass

def accept(listener):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(client,), daemon=True).start()

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]

upstream = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, args=(upstream,), daemon=True).start()
port11, port10 = free_port(), free_port()
target = f"http://127.0.0.1:{upstream.getsockname()[1]}"
with open(f"{work}/nginx.conf", "w") as conf:
    conf.write(f"""
daemon off; master_process off; pid {work}/pid; error_log {work}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
  server {{ listen 127.0.0.1:{port11}; location / {{ proxy_pass {target}; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
  server {{ listen 127.0.0.1:{port10}; location / {{ proxy_pass {target}; proxy_http_version 1.0; }} }}
}}""")
proxy = subprocess.Popen([nginx, "-p", work, "-e", f"{work}/error.log", "-c", f"{work}/nginx.conf"])

def request_s(port, path):
    for _ in range(100):
        try:
            client = socket.create_connection(("127.0.0.1", port), 15)
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    with client:
        began = time.monotonic()
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while b"hello" not in answer:
            more = client.recv(65536)
            assert more, answer
            answer += more
        print(path, answer)
        return time.monotonic() - began

try:
    plain, hints, old = request_s(port11, "/"), request_s(port11, "/hints"), request_s(port10, "/hints")
finally:
    proxy.terminate()
    proxy.wait(10)
print(f"http/1.1 upstream, no 103:   {plain:.1f} s")
print(f"http/1.1 upstream, with 103: {hints:.1f} s")
print(f"http/1.0 upstream, with 103: {old:.1f} s")
sys.exit(not (plain < 1.5 and old < 1.5 and hints > KEEP_ALIVE_S - 0.5))
PY
timeout 60 "${PYTHON:-python3}" "$work/check.py" "$nginx" "$work"
