"""A web server on this machine that behaves, or misbehaves, as servers do."""

import contextlib
import hashlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answer = Callable[["Handler", bytes], None]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.send_head(200, {"Content-Length": 0})

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        content, answers = self.server.files.get(self.path, (b"", [status(404)]))
        answer = answers.pop(0) if len(answers) > 1 else answers[0]  # the last one for ever
        with contextlib.suppress(OSError):  # the client has had enough
            answer(self, content)
        self.close_connection = True

    def send_head(self, code: int, headers: dict) -> None:
        self.send_response(code)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def rest(self, content: bytes) -> tuple[int, int, dict]:
        """(first byte, status, headers) that a good server answers to what is asked for."""
        tag = etag(content)
        headers = {"ETag": tag, "Content-Length": len(content)}
        asked = self.headers.get("Range")
        if not asked or self.headers.get("If-Range", tag) != tag:
            return 0, 200, headers
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return 0, 416, {"Content-Length": 0, "Content-Range": f"bytes */{len(content)}"}
        headers |= {"Content-Length": len(content) - start}
        return start, 206, headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def whole(handler: Handler, content: bytes) -> None:
    start, code, headers = handler.rest(content)
    handler.send_head(code, headers)
    if code != 416:
        handler.wfile.write(content[start:])


def breaks_off(at: float) -> Answer:
    """Closes the connection after a share of what it announced."""

    def answer(handler: Handler, content: bytes) -> None:
        start, code, headers = handler.rest(content)
        handler.send_head(code, headers)
        handler.wfile.write(content[start : start + int(len(content) * at)])

    return answer


def without_ranges(answer: Answer = whole) -> Answer:
    """As a server that knows neither resuming nor tags."""

    def plain(handler: Handler, content: bytes) -> None:
        handler.rest = lambda content: (0, 200, {"Content-Length": len(content)})
        answer(handler, content)

    return plain


def status(code: int, **headers: str) -> Answer:
    def answer(handler: Handler, content: bytes) -> None:
        handler.send_head(
            code, {name.replace("_", "-"): text for name, text in headers.items()} | {"Content-Length": 0}
        )

    return answer


def announces(share: float) -> Answer:
    """Lies about the length."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.send_head(200, {"Content-Length": int(len(content) * share)})
        handler.wfile.write(content)

    return answer


def wrong_range(handler: Handler, content: bytes) -> None:
    handler.send_head(206, {"Content-Range": f"bytes 7-{len(content) - 1}/{len(content)}", "ETag": etag(content)})
    handler.wfile.write(content[7:])


def drips(handler: Handler, content: bytes) -> None:
    handler.send_head(200, {"Content-Length": len(content), "ETag": etag(content)})
    for byte in content:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.02)


def hangs(handler: Handler, content: bytes) -> None:
    handler.send_head(200, {"Content-Length": len(content)})
    handler.wfile.write(content[:100])
    time.sleep(3)


def in_chunks(handler: Handler, content: bytes) -> None:
    handler.send_head(200, {"Transfer-Encoding": "chunked"})
    for start in range(0, len(content), 1000):
        piece = content[start : start + 1000]
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def sends(other: bytes) -> Answer:
    """Something else than the file."""
    return lambda handler, content: whole(handler, other)


class Server(http.server.ThreadingHTTPServer):
    """`files` maps '/name' to its content and the answers to one request after the other; the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, tuple[bytes, list[Answer]]] = {}
        self.requests: list[tuple[str, dict]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def serve(self, name: str, content: bytes, *answers: Answer) -> str:
        """Put a file there, and return its address."""
        self.files[f"/{name}"] = (content, list(answers) or [whole])
        return f"{self.address}/{name}"


@contextmanager
def running() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
