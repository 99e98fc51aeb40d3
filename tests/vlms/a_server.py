"""A server on this machine that answers, or misbehaves, as a test says; shared by the tests of endpoint and judge."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, bytes]  # status and body


def completion(text: object) -> Answer:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@contextmanager
def server(
    answer: Callable[[int, dict], Answer | None], *, announced: int = 0, pause_ms: int | None = None
) -> Iterator[tuple[str, list[dict]]]:
    """A server on this machine: `answer` gets the number of the request and its body; None hangs until the end.

    `announced` bytes are promised beyond the body, so that the connection breaks off in the middle. `pause_ms` is how
    long a client is told to wait before it tries again.
    """
    seen: list[dict] = []
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "key": self.headers["Authorization"], **body})
            found = answer(len(seen), body)
            if found is None:
                closing.wait(10)
                return
            self.send_response(found[0])
            self.send_header("Content-Type", "application/json")
            if pause_ms is not None:
                self.send_header("retry-after-ms", str(pause_ms))
            self.send_header("Content-Length", str(len(found[1]) + announced))
            self.end_headers()
            self.wfile.write(found[1])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1", seen
    finally:
        closing.set()
        running.shutdown()
        running.server_close()
