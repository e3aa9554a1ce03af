"""
The life of one game server, as its node sees it.

It is *starting* until it dials, *warm* until it is given a port, *binding*
that, *listening*, and at last *leaving*. Its end has two halves that come in
either order: the link is read to its end, and the process is seen to be gone.
The port is free when the process is; what it said is all heard when the link
is; only with both is it *gone*.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Literal, Protocol

import attrs
from automat import TypeMachineBuilder

Stage = Literal["starting", "warm", "binding", "listening", "leaving", "gone"]


@attrs.frozen
class Patience:
    """
    How long each step may take, seconds.

    :ivar start: from the request to the link.
    :ivar bind: from `Bind` to its answer.
    :ivar leave: from the last work, or the loss of the link, to the exit.
    :ivar read: from the exit to the end of the link.
    """

    start: float = 30.0
    bind: float = 5.0
    leave: float = 5.0
    read: float = 2.0


@attrs.frozen
class BindPort:
    """Tell it to bind this port."""

    port: int


@attrs.frozen
class PortFree:
    """Nobody has this port any more."""

    port: int


@attrs.frozen
class PortSpoilt:
    """This port cannot be bound."""

    port: int


@attrs.frozen
class SayStop:
    """Ask it over the link to end."""


@attrs.frozen
class Terminate:
    """Ask its process to end: it has no link yet."""


@attrs.frozen
class Kill:
    """End its process; it had its time."""


@attrs.frozen
class CutLink:
    """Its process is gone, its link stays: close that."""


@attrs.frozen
class Gone:
    """It is over, and everything it said was heard."""


Effect = BindPort | PortFree | PortSpoilt | SayStop | Terminate | Kill | CutLink | Gone


@attrs.define(eq=False)
class ServerFacts:
    """
    Shared by all states. Times: seconds on the caller's clock.

    :ivar deadline: when to say `overdue`.
    :ivar port: the port it has or is to bind.
    :ivar outbox: what the caller must act on.
    """

    patience: Patience
    deadline: float
    stage: Stage = "starting"
    port: int | None = None
    outbox: list[Effect] = attrs.field(factory=list)

    def enter(self, stage: Stage, deadline: float = inf) -> None:
        self.stage, self.deadline = stage, deadline

    def free_port(self) -> None:
        if self.port is not None:
            self.outbox.append(PortFree(self.port))
            self.port = None


class ServerInputs(Protocol):
    """What can happen to a game server."""

    def dialed(self, now: float) -> None:
        """It opened its link."""

    def assign(self, port: int, now: float) -> None:
        """A match needs it."""

    def bound(self, now: float) -> None:
        """It has the port."""

    def bind_failed(self, now: float) -> None:
        """It cannot have the port."""

    def leave(self, ask: bool, now: float) -> None:
        """Its work is done; *ask* if it does not know that itself."""

    def overdue(self, now: float) -> None:
        """It took too long, or does not answer."""

    def link_lost(self, now: float) -> None:
        """Its link is closed and was read to its end."""

    def exited(self, now: float) -> None:
        """Its process is gone."""


def _server_machine() -> Callable[[ServerFacts], ServerInputs]:
    machine = TypeMachineBuilder(ServerInputs, ServerFacts)
    starting = machine.state("starting")
    warm = machine.state("warm")
    binding = machine.state("binding")
    listening = machine.state("listening")
    leaving = machine.state("leaving")
    # The two halves of the end.
    unlinked = machine.state("unlinked")
    exited = machine.state("exited")
    gone = machine.state("gone")
    linked = (warm, binding, listening, leaving)

    @starting.upon(ServerInputs.dialed).to(warm)
    def warmed(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("warm")

    @warm.upon(ServerInputs.assign).to(binding)
    def bind(_: ServerInputs, facts: ServerFacts, port: int, now: float) -> None:
        facts.port = port
        facts.enter("binding", now + facts.patience.bind)
        facts.outbox.append(BindPort(port))

    @binding.upon(ServerInputs.bound).to(listening)
    def listen(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("listening")

    @binding.upon(ServerInputs.bind_failed).to(warm)
    def spoil(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("warm")
        if facts.port is not None:
            facts.outbox.append(PortSpoilt(facts.port))
            facts.port = None

    for state in (warm, binding, listening):

        @state.upon(ServerInputs.leave).to(leaving)
        def part(_: ServerInputs, facts: ServerFacts, ask: bool, now: float) -> None:
            facts.enter("leaving", now + facts.patience.leave)
            if ask:
                facts.outbox.append(SayStop())

    @starting.upon(ServerInputs.leave).to(unlinked)
    def end_early(_: ServerInputs, facts: ServerFacts, ask: bool, now: float) -> None:
        facts.enter("leaving", now + facts.patience.leave)
        facts.outbox.append(Terminate())

    def kill(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("leaving", now + facts.patience.leave)
        facts.outbox.append(Kill())

    starting.upon(ServerInputs.overdue).to(unlinked)(kill)
    for state in linked:
        state.upon(ServerInputs.overdue).to(leaving)(kill)
    unlinked.upon(ServerInputs.overdue).loop()(kill)

    def wait_for_exit(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("leaving", now + facts.patience.leave)

    def read_on(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("leaving", now + facts.patience.read)
        facts.free_port()

    for state in linked:
        state.upon(ServerInputs.link_lost).to(unlinked)(wait_for_exit)
        state.upon(ServerInputs.exited).to(exited)(read_on)

    @exited.upon(ServerInputs.overdue).loop()
    def cut(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("leaving", now + facts.patience.read)
        facts.outbox.append(CutLink())

    def finish(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("gone")
        facts.free_port()
        facts.outbox.append(Gone())

    starting.upon(ServerInputs.exited).to(gone)(finish)
    unlinked.upon(ServerInputs.exited).to(gone)(finish)
    exited.upon(ServerInputs.link_lost).to(gone)(finish)

    # Whoever wishes it to end may not know that it does.
    for state in (leaving, unlinked, exited, gone):

        @state.upon(ServerInputs.leave).loop()
        def stay(_: ServerInputs, facts: ServerFacts, ask: bool, now: float) -> None:
            del facts

    return machine.build()


open_server_life = _server_machine()
