"""Rules of routes, as operators write them."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured
from vinom.gateway.routing.rules import Endpoint, read_rules


def rules(**given: Any) -> str:
    """Write rules."""
    return json.dumps(given)


def rule(*endpoints: str, **more: Any) -> dict[str, Any]:
    """Write one rule."""
    return {"strategy": "round_robin", "endpoints": endpoints or ["a:1"], **more}


class RulesTests(SynchronousTestCase):
    def test_the_document(self) -> None:
        """
        The example of the source document is read as it stands, and reached by the code
        that the settings give its service.
        """
        found = read_rules(
            '{"account": {"strategy": "consistent_hash", '
            '"endpoints": ["account-server:8080"]}}',
            {"account": 7},
        )
        account = found.by_name["account"]
        self.assertEqual(account.endpoints, (Endpoint("account-server", 8080),))
        self.assertIs(found.by_code[7], account)

    def test_codes(self) -> None:
        """
        A rule has the code that it names, or else the one of its decimal name.
        """
        given = {"7": rule(), "chat": rule(code=9), "70000": rule(), "x": rule()}
        found = read_rules(json.dumps(given), {"chat": 1})
        self.assertEqual(
            {code: one.service for code, one in found.by_code.items()},
            {7: "7", 9: "chat"},
        )

    def test_number_and_code(self) -> None:
        """
        A service that is named by a number answers to it, and to its code in the
        settings.
        """
        found = read_rules(rules(**{"7": rule(), "account": rule()}), {"7": 70})
        self.assertEqual({*found.by_code}, {7, 70})
        self.assertEqual(found.by_name["account"].codes, ())

    def test_requests(self) -> None:
        """
        A request goes to the rule with the longest path that it begins with, of its
        host or of any.
        """
        found = read_rules(
            rules(
                page=rule(match={"path": "/"}),
                shop=rule(match={"path": "/shop"}),
                ours=rule(match={"host": "Play.example.org", "path": "/shop"}),
                packets=rule(code=3),
            )
        )

        def service(host: str, path: str) -> str | None:
            rule = found.of_request(host, path)
            return None if rule is None else rule.service

        self.assertEqual(service("x.org", "/"), "page")
        self.assertEqual(service("x.org", "/shopping"), "page")
        self.assertEqual(service("x.org", "/shop"), "shop")
        self.assertEqual(service("x.org", "/shop/1"), "shop")
        self.assertEqual(service("PLAY.example.org", "/shop/1"), "ours")
        self.assertIsNone(read_rules("{}").of_request("x.org", "/"))

    def test_realms_of_requests(self) -> None:
        """
        A host or a path may name the realm by its number: the same rule takes all.
        """
        found = read_rules(
            rules(
                page=rule(match={"path": "/"}),
                arena=rule(match={"path": "/realms/{realm}/ws"}),
                host=rule(match={"host": "{realm}.play.example.org"}),
                one=rule(match={"path": "/realms/5/ws"}),
            )
        )

        def asked(host: str, path: str) -> tuple[str, int]:
            rule = found.of_request(host, path)
            assert rule is not None
            return rule.service, rule.realm_in(host, path)

        self.assertEqual(asked("x.org", "/realms/7/ws"), ("arena", 7))
        self.assertEqual(asked("x.org", "/realms/0/ws/8/9"), ("arena", 0))
        self.assertEqual(
            asked("x.org", "/realms/4294967295/ws"), ("arena", (1 << 32) - 1)
        )
        self.assertEqual(asked("x.org", "/realms/5/ws"), ("one", 0))
        self.assertEqual(asked("12.Play.example.org", "/a/3"), ("host", 12))
        self.assertEqual(asked("12.play.example.org", "/realms/7/ws"), ("arena", 7))
        for path in (
            "/realms/4294967296/ws",
            "/realms/07/ws",
            "/realms/7x/ws",
            "/realms/{realm}x/ws",
            "/realms//ws",
            "/realms/7",
        ):
            self.assertEqual(asked("x.org", path), ("page", 0), path)

    def test_mistakes(self) -> None:
        """
        A set with a mistake is refused whole, in one sentence that names the service
        and the member.
        """
        for text, words in (
            ("[", "not valid JSON"),
            ("[]", "must be an object with a rule for each service"),
            ('{"a": {}, "a": {}}', "'a' appears twice"),
            (rules(**{"a b": rule()}), "'a b' is not a valid service name"),
            (
                rules(a=rule(strategy="random")),
                "a: strategy must be one of round_robin, ",
            ),
            (rules(a={"strategy": "round_robin"}), "a: endpoints must name"),
            ("[" * 100_000, "not valid JSON"),
            (rules(a=rule("unix:/s", check="/health")), "a: check works only over TCP"),
            (rules(a=rule("b")), "a: endpoints: 'b' must look like host:8080"),
            (rules(a=rule("b:0")), "'b:0' must look like"),
            (rules(a=rule("b:70000")), "'b:70000' must look like"),
            (rules(a=rule("b:1", "b:1")), "endpoints name a back end twice"),
            (rules(a=rule(strategy="realm")), "leave out endpoints"),
            (rules(a=rule(code=1), b=rule(code=1)), "same code 1"),
            (rules(a=rule(code=70000)), "a: code must be a whole number <= 65535"),
            (rules(a=rule(match={"path": "x"})), "must begin with a slash"),
            (rules(a=rule(idle_seconds=-1)), "a: idle_seconds must be a number >= 0"),
            *(
                (rules(a=rule(match=match)), "{realm} can appear once")
                for match in (
                    {"path": "/{realm}x"},
                    {"path": "/{realm}/{realm}"},
                    {"path": "/5/{realm}"},
                    {"path": "/{user}"},
                    {"host": "a.{realm}.org"},
                    {"host": "{realm}.org", "path": "/{realm}"},
                )
            ),
        ):
            with self.assertRaises(Misconfigured) as caught:
                read_rules(text)
            self.assertIn(words, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))

    def test_unknown_members(self) -> None:
        """
        Members of other versions do no harm; addresses of IPv6 are read.
        """
        found = read_rules(rules(a=rule("[::1]:80", later=1)))
        (endpoint,) = found.by_name["a"].endpoints
        self.assertEqual((endpoint.host, str(endpoint)), ("::1", "[::1]:80"))
