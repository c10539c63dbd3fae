"""Runs in a pod: writes what is posted to it into its log, a line each, where `kubectl logs` reads it.

Not here: any meaning of the lines.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8000


class Recorder(BaseHTTPRequestHandler):
    """Takes POSTs."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Write the body down, then answer: whoever has an answer knows that it is written."""
        line = self.rfile.read(int(self.headers["Content-Length"])) + b"\n"
        os.write(sys.stdout.fileno(), line)  # one call for the whole line: others write at the same time
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests: the log is for the lines."""


class Server(ThreadingHTTPServer):
    """Lets a hundred wait at the door: tasks of one grid all post at the same instant."""

    request_queue_size = 128


if __name__ == "__main__":
    Server(("", PORT), Recorder).serve_forever()
