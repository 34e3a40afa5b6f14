"""Gradio's own client: a call, a stream of results and an upload."""

import json
import sys
from pathlib import Path

from gradio_client import Client, handle_file

client = Client(sys.argv[1], verbose=False)
Path("upload.bin").write_bytes(b"x" * 300_000)
seen = [
    client.predict("Ada", api_name="/greet"),
    list(client.submit(3, api_name="/count")),
    client.predict(handle_file("upload.bin"), api_name="/size"),
]
print(json.dumps(seen))
