"""The life of one DTLS association, the same on both ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from automat import TypeMachineBuilder

from vinom.wire.dtls_events import Ending


@attrs.frozen
class Opened:
    """Payloads can pass."""


@attrs.frozen
class Ended:
    """
    It is over.

    :ivar reason: ``None`` if our own side wanted it.
    :ivar was_open: it had been `Opened`.
    """

    reason: Ending | None
    was_open: bool

    @property
    def owes_goodbye(self) -> bool:
        """
        Is there a peer to say close_notify to?

        Not one whose OpenSSL disagrees with ours, and not one whose address
        somebody newer has.
        """
        return self.reason not in ("failed", "replaced")


@attrs.define
class LifeFacts:
    """
    Shared by all states.

    :ivar outbox: what the owner of the association must act on.
    """

    outbox: list[Opened | Ended] = attrs.field(factory=list)


class LifeInputs(Protocol):
    """What can happen to an association."""

    def finish(self) -> None:
        """The handshake is done and the peer is who it should be."""

    def end(self, reason: Ending | None) -> None:
        """Stop; ``None`` says that our own side wants it."""


def _life_machine() -> Callable[[LifeFacts], LifeInputs]:
    machine = TypeMachineBuilder(LifeInputs, LifeFacts)
    handshaking = machine.state("handshaking")
    opened = machine.state("opened")
    over = machine.state("over")

    @handshaking.upon(LifeInputs.finish).to(opened)
    def announce(_inputs: LifeInputs, facts: LifeFacts) -> None:
        facts.outbox.append(Opened())

    @handshaking.upon(LifeInputs.end).to(over)
    def give_up(_inputs: LifeInputs, facts: LifeFacts, reason: Ending | None) -> None:
        facts.outbox.append(Ended(reason, was_open=False))

    @opened.upon(LifeInputs.end).to(over)
    def part(_inputs: LifeInputs, facts: LifeFacts, reason: Ending | None) -> None:
        facts.outbox.append(Ended(reason, was_open=True))

    # Both ends may want the end at once; the second wish changes nothing.
    @over.upon(LifeInputs.end).loop()
    def stay(_inputs: LifeInputs, _facts: LifeFacts, reason: Ending | None) -> None:
        del reason

    return machine.build()


open_life = _life_machine()
