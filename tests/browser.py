"""LiteRT.js in a headless Chromium: a server with the page, the models and their inputs, and the answers it gets."""

from __future__ import annotations

import functools
import http.server
import json
import queue
import subprocess
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np

_PAGE = Path(__file__).with_name("litertjs.html")
_CLIENTS = Path(__file__).resolve().parents[1] / "tflite" / "clients"
_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html", ".json": "application/json"}


def run(
    litertjs: Path, works: list[tuple[Path, np.ndarray | list[Path]]], folder: Path, *, seconds: float = 300
) -> list:
    """Returns what each model gives for each of its inputs, or the message of the client that refused it.

    Args:
      litertjs: Folder with ``core/`` and ``wasm-utils/``, the unpacked npm packages of these names.
      works: Models, each with inputs ``[count, height, width, 3]`` of the type that it takes, or with pictures, which
        ``tflite/clients/classifier.js`` looks at.
      folder: An empty one, for the browser's profile and what is served.
      seconds: How long to wait.
    """
    listed = []
    for index, (model, inputs) in enumerate(works):
        (folder / f"{index}.tflite").write_bytes(model.read_bytes())
        work = {"model": f"/{index}.tflite"}
        if isinstance(inputs, list):
            (folder / f"{index}.tflite.json").write_bytes(Path(f"{model}.json").read_bytes())
            work["pictures"] = [f"/{index}-{path.name}" for path in inputs]
            for path in inputs:
                (folder / f"{index}-{path.name}").write_bytes(path.read_bytes())
        else:
            (folder / f"{index}.bin").write_bytes(inputs.tobytes())
            work |= {"inputs": f"/{index}.bin", "type": str(inputs.dtype), "shape": [1, *inputs.shape[1:]]}
            work["count"] = len(inputs)
        listed.append(work)
    (folder / "clients").symlink_to(_CLIENTS)
    (folder / "work.json").write_text(json.dumps(listed))
    (folder / "index.html").write_text(_PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "litertjs").symlink_to(litertjs)
    answers: queue.Queue = queue.Queue()
    handler = functools.partial(_Handler, answers, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [
                *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"),
                *("--disable-background-networking", f"--user-data-dir={folder / 'profile'}"),
                *("--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/index.html"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return answers.get(timeout=seconds)
        finally:
            browser.terminate()
            browser.wait(timeout=30)
            server.shutdown()


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map: ClassVar = {**http.server.SimpleHTTPRequestHandler.extensions_map, **_TYPES}

    def __init__(self, answers: queue.Queue, *args: object, **kwargs: object) -> None:
        self._answers = answers
        super().__init__(*args, **kwargs)

    def do_POST(self) -> None:
        self._answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keeps quiet."""
