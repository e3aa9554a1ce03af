"""
The current rules, from any source: a new set is accepted or refused as a whole.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.logger import Logger

from vinom.errors import Misconfigured
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import (
    Endpoint,
    Rules,
    check_rules,
    read_realms,
    read_rules,
    read_services,
)

_log = Logger()

#: What is wrong with the rules that `Router.unreachable` lists.
UNREACHABLE = (
    "no client can reach it: give its rule a code or a match, or its name a number in "
    "services"
)


@attrs.define(eq=False)
class Routes:
    """
    Give the router new rules; if they have a mistake the previous ones stay.

    :ivar router: gets the rules.
    :ivar services: codes of services whose rules name none.
    :ivar changed: called with all back ends of new rules.
    :ivar has_certificate: can back ends be reached by ``packets+tls``?
    :ivar is_loaded: have there ever been valid rules?
    :ivar mistake: the mistake in the newest rules; ``None`` if they are in use.
    :ivar taken: how many times new rules came into use.
    :ivar refused: how many times rules were refused; once for each text.
    """

    router: Router
    services: Mapping[str, int] = attrs.field(factory=dict)
    changed: Callable[[set[Endpoint]], None] = lambda _: None
    has_certificate: bool = True
    is_loaded: bool = attrs.field(default=False, init=False)
    mistake: str | None = attrs.field(default=None, init=False)
    taken: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)
    _newest: Any = attrs.field(default=None, init=False)

    def offer_text(
        self,
        rules: bytes | None,
        realms: Mapping[bytes, bytes],
        services: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """
        Use rules and realms from Redis.

        :param rules: JSON; ``None`` for no rules.
        :param services: codes of services, which count before those of the settings.
        """
        codes = services or {}
        self._offer(
            (rules, dict(realms), dict(codes)),
            lambda: (
                read_rules(
                    rules or b"{}", {**self.services, **read_services(_texts(codes))}
                ),
                read_realms(_texts(realms)),
            ),
        )

    def offer(self, document: Mapping[str, Any]) -> None:
        """
        Use rules and realms from a TOML document.

        :param document: the document, with tables ``services`` and ``realms``.
        """

        def read() -> tuple[Rules, dict[int, Endpoint]]:
            unknown = sorted(set(document) - {"services", "realms"})
            if unknown:
                raise Misconfigured(
                    f"routes: unknown table {unknown[0]!r}; use services and realms"
                )
            realms = document.get("realms", {})
            if not isinstance(realms, dict):
                raise Misconfigured("routes: realms must be a table")
            return (
                check_rules(document.get("services", {}), self.services),
                read_realms(realms),
            )

        self._offer(document, read)

    def refuse(self, given: Any, mistake: str) -> None:
        """
        Report rules that cannot be read or parsed; once for each text.

        :param given: identifies the text.
        """
        if given == self._newest:
            return
        self._newest, self.mistake = given, mistake
        self.refused += 1
        stay = "the rules of before stay" if self.is_loaded else "nothing is served"
        _log.error("rules refused, {stay}: {mistake}", stay=stay, mistake=mistake)

    def _offer(
        self, given: Any, read: Callable[[], tuple[Rules, dict[int, Endpoint]]]
    ) -> None:
        if self._newest is not None and given == self._newest:
            return
        try:
            rules, realms = read()
            self._check_links(rules)
        except Misconfigured as error:
            self.refuse(given, str(error))
            return
        self._newest, self.mistake = given, None
        self.is_loaded = True
        self.taken += 1
        self.router.use(rules)
        self.router.realms = realms
        endpoints = {
            one for rule in rules.by_name.values() for one in rule.endpoints
        } | set(realms.values())
        self.changed(endpoints)
        _log.info(
            "rules of {count} services and {realms} realms are in use",
            count=len(rules.by_name),
            realms=len(realms),
        )
        for service in self.router.unreachable():
            _log.warn("{service}: {why}", service=service, why=UNREACHABLE)

    def _check_links(self, rules: Rules) -> None:
        for name, rule in rules.by_name.items():
            if rule.transport == "packets+tls" and not self.has_certificate:
                raise Misconfigured(
                    f"rules: {name}: packets+tls needs a certificate: set "
                    "link_certificate_file, link_key_file and link_authority_file"
                )


def _texts(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in found.items()
    }
