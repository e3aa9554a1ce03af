"""
The life of one game server, as its node sees it.

It is *starting* until it dials, *warm* until a match needs it, *binding* until
players can reach it, *listening*, and finally *leaving*. Its end has two halves, in
either order: the link is read to its end, and the process exits. Only after both is it
*gone*. One that has a match and no link is *away*: an earlier node started it, or its
link was cut. It plays on until its lease is over.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Literal, Protocol

import attrs
from automat import TypeMachineBuilder

Stage = Literal["starting", "warm", "binding", "listening", "away", "leaving", "gone"]


@attrs.frozen
class ServerTimeouts:
    """
    How long each step may take, seconds.

    :ivar start: from the request to the link.
    :ivar bind: from the match that needs it until players can reach it.
    :ivar leave: from the last work, or the loss of the link, to the exit.
    :ivar read: from the exit to the end of the link.
    :ivar away: without a link, with a match: its lease, and some time to end by itself.
    """

    start: float = 30.0
    bind: float = 5.0
    leave: float = 5.0
    read: float = 2.0
    away: float = 50.0


class Effect(Enum):
    """What the caller must do."""

    #: Give it an address: a match needs it.
    ADDRESS = "address"
    #: Ask it to end, over the link.
    STOP = "stop"
    #: Ask its process to end by a signal: it has no link yet.
    TERMINATE = "terminate"
    #: Kill its process: a timeout passed.
    KILL = "kill"
    #: Close the link of a process that is gone.
    CUT_LINK = "cut link"
    #: It has ended, and all that it sent was read.
    GONE = "gone"


@attrs.define(eq=False)
class ServerFacts:
    """
    Shared by all states. Times: seconds on the caller's clock.

    :ivar timeouts: how long each step may take.
    :ivar deadline: when to call `ServerInputs.overdue`.
    :ivar stage: stage of its life, for operators.
    :ivar outbox: what the caller must act on.
    """

    timeouts: ServerTimeouts
    deadline: float
    stage: Stage = "starting"
    outbox: list[Effect] = attrs.field(factory=list)

    def enter(self, stage: Stage, deadline: float = inf) -> None:
        self.stage, self.deadline = stage, deadline


class ServerInputs(Protocol):
    """What can happen to a game server."""

    def dialed(self, now: float) -> None:
        """It opened its link."""

    def adopt(self, now: float) -> None:
        """An earlier node started it: it listens, and has no link yet."""

    def cut_off(self, now: float) -> None:
        """Its link is closed and was read to its end; but it plays on."""

    def need(self, now: float) -> None:
        """A match needs it."""

    def reached(self, now: float) -> None:
        """Players can reach it: it has its port."""

    def bind_failed(self, now: float) -> None:
        """It could not bind the port that it was given."""

    def leave(self, ask: bool, now: float) -> None:
        """Its work is done; *ask* it to end unless it ends by itself."""

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
    away = machine.state("away")
    leaving = machine.state("leaving")
    # The two halves of the end.
    unlinked = machine.state("unlinked")
    exited = machine.state("exited")
    gone = machine.state("gone")
    linked = (warm, binding, listening, leaving)

    def wait(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("warm")

    starting.upon(ServerInputs.dialed).to(warm)(wait)
    binding.upon(ServerInputs.bind_failed).to(warm)(wait)

    @warm.upon(ServerInputs.need).to(binding)
    def bind(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("binding", now + facts.timeouts.bind)
        facts.outbox.append(Effect.ADDRESS)

    @binding.upon(ServerInputs.reached).to(listening)
    def listen(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("listening")

    def miss(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("away", now + facts.timeouts.away)

    starting.upon(ServerInputs.adopt).to(away)(miss)
    listening.upon(ServerInputs.cut_off).to(away)(miss)
    away.upon(ServerInputs.dialed).to(listening)(listen)

    for state in (warm, binding, listening):

        @state.upon(ServerInputs.leave).to(leaving)
        def part(_: ServerInputs, facts: ServerFacts, ask: bool, now: float) -> None:
            facts.enter("leaving", now + facts.timeouts.leave)
            if ask:
                facts.outbox.append(Effect.STOP)

    for state in (starting, away):

        @state.upon(ServerInputs.leave).to(unlinked)
        def end_early(
            _: ServerInputs, facts: ServerFacts, ask: bool, now: float
        ) -> None:
            facts.enter("leaving", now + facts.timeouts.leave)
            facts.outbox.append(Effect.TERMINATE)

    def kill(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("leaving", now + facts.timeouts.leave)
        facts.outbox.append(Effect.KILL)

    starting.upon(ServerInputs.overdue).to(unlinked)(kill)
    away.upon(ServerInputs.overdue).to(unlinked)(kill)
    for state in linked:
        state.upon(ServerInputs.overdue).to(leaving)(kill)
    unlinked.upon(ServerInputs.overdue).loop()(kill)

    def wait_for_exit(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("leaving", now + facts.timeouts.leave)

    def read_on(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("leaving", now + facts.timeouts.read)

    for state in linked:
        state.upon(ServerInputs.link_lost).to(unlinked)(wait_for_exit)
        state.upon(ServerInputs.exited).to(exited)(read_on)

    @exited.upon(ServerInputs.overdue).loop()
    def cut(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("leaving", now + facts.timeouts.read)
        facts.outbox.append(Effect.CUT_LINK)

    def finish(_: ServerInputs, facts: ServerFacts, now: float) -> None:
        facts.enter("gone")
        facts.outbox.append(Effect.GONE)

    starting.upon(ServerInputs.exited).to(gone)(finish)
    away.upon(ServerInputs.exited).to(gone)(finish)
    unlinked.upon(ServerInputs.exited).to(gone)(finish)
    exited.upon(ServerInputs.link_lost).to(gone)(finish)

    # A caller may ask it to end while it is already ending.
    for state in (leaving, unlinked, exited, gone):

        @state.upon(ServerInputs.leave).loop()
        def stay(_: ServerInputs, facts: ServerFacts, ask: bool, now: float) -> None:
            del facts

    return machine.build()


open_server_life = _server_machine()
