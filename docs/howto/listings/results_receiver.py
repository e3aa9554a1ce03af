"""Receive the results of a node, and print each of them once."""

from __future__ import annotations

import base64
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

#: A request that is older than this may be a copy of a genuine one, seconds.
OLDEST = 300


def is_genuine(
    secret: str, headers: Mapping[str, str], body: bytes, now: float
) -> bool:
    """Was this request sent by somebody who has the secret, and just now?"""
    name = headers.get("Webhook-Id", "")
    sent_at = headers.get("Webhook-Timestamp", "")
    if not sent_at.isdecimal() or abs(now - int(sent_at)) > OLDEST:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{name}.{sent_at}.".encode() + body
    right = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
    given = headers.get("Webhook-Signature", "").encode().split()
    return any(hmac.compare_digest(one, right) for one in given)


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 when a result is safe, and the node sends it no more."""

    secret = ""
    # A real receiver keeps these in the transaction that does something with a result.
    known: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not is_genuine(self.secret, dict(self.headers.items()), body, time.time()):
            self.send_response(401)
            self.end_headers()
            return
        result = json.loads(body)
        if result["id"] not in self.known:
            self.known.add(result["id"])
            self.take(result)
        self.send_response(204)
        self.end_headers()

    def take(self, result: dict[str, Any]) -> None:
        """Print what came, once."""
        if result["event"] == "your_turn":
            print(f"{result['id']}: it is {result['name']}'s turn", flush=True)
        else:
            winners = result["places"][0] if result["places"] else []
            names = [seat["name"] for seat in result["seats"]]
            won = ", ".join(names[seat] for seat in winners) or "nobody"
            print(f"{result['id']} {result['reason']}: {won}", flush=True)

    def log_message(self, format: str, *args: object) -> None:
        """Write no line for each request."""


if __name__ == "__main__":
    Receiver.secret = os.environ["RESULTS_SECRET"]
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
