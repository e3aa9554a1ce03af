"""Requests with results: what is signed, and when they are tried again."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from types import ModuleType

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

import tests
from tests.lobby.results.test_store import NOW, result
from vinom.errors import Misconfigured
from vinom.lobby.results.webhook import (
    LONGEST_DELAY,
    delay,
    read_secrets,
    sign,
    signed_request,
    verdict,
)

KEY = bytes(range(32))
TEXT = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()


def receiver() -> ModuleType:
    """Load the receiver of the manual."""
    root = Path(tests.__file__).resolve().parent.parent
    path = root / "docs/howto/listings/results_receiver.py"
    spec = importlib.util.spec_from_file_location("results_receiver", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class SignatureTests(SynchronousTestCase):
    """What a receiver verifies, with the manual's own code."""

    def setUp(self) -> None:
        self.request = signed_request((KEY,), result("m1"), NOW)
        self.headers = {
            name.decode(): values[0].decode()
            for name, values in self.request.headers.items()
        }
        self.is_genuine = receiver().is_genuine

    def accepts(self, now: float = NOW, secret: str = TEXT, **changes: str) -> bool:
        names = {name.replace("_", "-"): text for name, text in changes.items()}
        body = names.pop("body", self.request.body.decode()).encode()
        genuine: bool = self.is_genuine(secret, {**self.headers, **names}, body, now)
        return genuine

    def test_standard(self) -> None:
        """
        Signatures are those of Standard Webhooks: its own example comes out.
        """
        (secret,) = read_secrets(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "f")
        self.assertEqual(
            sign(
                (secret,),
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1614265330,
                b'{"test": 2432232314}',
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        )

    def test_genuine(self) -> None:
        """
        The receiver takes what the node sent, and the id is in body and header.
        """
        self.assertTrue(self.accepts())
        self.assertEqual(json.decode(self.request.body)["id"], "m1:1")
        self.assertEqual(self.headers["Webhook-Id"], "m1:1")

    def test_forged(self) -> None:
        """
        Nobody without the secret can send a result, or change one.
        """
        body = self.request.body.decode()
        right = self.headers["Webhook-Signature"]
        for changes in (
            {"secret": OTHER},
            {"body": body.replace('"ann"', '"eve"')},
            {"body": ""},
            {"Webhook_Id": "m1:2"},
            {"Webhook_Id": ""},
            {"Webhook_Timestamp": str(int(NOW) + 1)},
            {"Webhook_Timestamp": "soon"},
            {"Webhook_Signature": ""},
            {"Webhook_Signature": "v1,"},
            {"Webhook_Signature": right.replace("v1,", "v0,")},
            {"Webhook_Signature": right[3:]},
            {"Webhook_Signature": "v1,\N{SNOWMAN}"},
        ):
            self.assertFalse(self.accepts(**changes), changes)

    def test_replayed(self) -> None:
        """
        A request that was recorded is refused some minutes later.
        """
        self.assertTrue(self.accepts(now=NOW + 299.0))
        self.assertFalse(self.accepts(now=NOW + 302.0))
        self.assertFalse(self.accepts(now=NOW - 302.0))

    def test_two_secrets(self) -> None:
        """
        While a secret is replaced, receivers with the old or the new one take it.
        """
        secrets = read_secrets(f"{OTHER}\n{TEXT}\n".encode(), "f")
        request = signed_request(secrets, result("m1"), NOW)
        both = request.headers[b"Webhook-Signature"][0].decode()
        for secret in (TEXT, OTHER):
            self.assertTrue(self.accepts(secret=secret, Webhook_Signature=both))

    def test_secrets(self) -> None:
        """
        A file without usable secrets is named, and what it contains is not shown.
        """
        for text in (
            b"",
            b"\n",
            b"a password",
            b"whsec_a password",
            b"whsec_" + base64.b64encode(bytes(23)),
            b"whsec_" + base64.b64encode(bytes(65)),
            b"\n".join([OTHER.encode()] * 5),
        ):
            error = self.assertRaises(Misconfigured, read_secrets, text, "the-file")
            self.assertIn("the-file", str(error))
            self.assertNotIn("password", str(error))


class RetryTests(SynchronousTestCase):
    def test_verdicts(self) -> None:
        """
        What the receiver refuses for good is given up; what may pass is tried again.
        """
        for status, wanted in (
            (200, "sent"),
            (204, "sent"),
            (299, "sent"),
            (301, "later"),
            (307, "later"),
            (400, "dead"),
            (401, "dead"),
            (404, "dead"),
            (408, "later"),
            (410, "dead"),
            (425, "later"),
            (429, "later"),
            (500, "later"),
            (503, "later"),
        ):
            self.assertEqual(verdict(status), wanted, status)

    def test_delays(self) -> None:
        """
        Delays double up to ten minutes, and chance cuts up to a half of each.
        """
        longest = [delay(tries, lambda: 1.0) for tries in range(1, 13)]
        self.assertEqual(longest[:5], [1.0, 2.0, 4.0, 8.0, 16.0])
        self.assertEqual(longest[-2:], [LONGEST_DELAY] * 2)
        self.assertEqual(delay(10_000, lambda: 0.0), LONGEST_DELAY / 2)
