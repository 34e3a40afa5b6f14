"""WebSocket (RFC 6455) with per-message compression (RFC 7692): bytes to messages and back.

``handshake``, ``frames``, ``deflate`` and ``session`` do no I/O; ``connection`` puts them on a transport and under an
app.
"""
