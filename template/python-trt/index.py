"""Serves function/handler.py over HTTP to the watchdog, with the standard
library alone."""

import http.server
import json
import os
import sys
import traceback
import urllib.parse

import watchdog
from function import handler


def respond(body, headers):
    """The status and the JSON that answer a request."""
    try:
        return 200, json.dumps(handler.handle(body, headers)).encode()
    except ValueError as e:
        status, text = 400, str(e)
    except watchdog.Unavailable as e:
        status, text = 503, str(e)
    except Exception as e:
        traceback.print_exc()
        status, text = 500, f"the handler failed with {type(e).__name__}; the function's log says where"
    return status, json.dumps({"error": text}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one piece: sent apart they meet Nagle's algorithm and a
    # delayed acknowledgement, 40 ms.
    wbufsize = -1

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, data = respond(body, self.headers)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, format, *args):
        """The watchdog logs requests."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # The default of 5 refuses connections under load.
    request_queue_size = 256


def main():
    url = urllib.parse.urlsplit(os.environ["upstream_url"])
    with Server((url.hostname, url.port), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
