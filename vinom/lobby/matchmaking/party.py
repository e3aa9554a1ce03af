"""
The life of one party: who is in it, who is its host, and what it does.

A party is a value in the store. To change it, its machine is set to the state it is in,
takes one input, and leaves the changed value; whoever called it stores that, if nobody
was faster.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from hashlib import scrypt, sha256
from typing import Protocol

import attrs
from automat import NoTransition, TypeMachineBuilder

from vinom.base.model import Party, PartyMember, PartyState
from vinom.errors import Code, Refused

#: Players who may be invited, and players who cannot come back, per party; the oldest
#: are forgotten.
_MOST_INVITED, _MOST_BANNED = 64, 64
#: Costs about 2 ms and 1 MB: a party's password protects an hour, not an account.
_SCRYPT = {"n": 1 << 10, "r": 8, "p": 1, "dklen": 32}


def hash_token(token: str) -> str:
    """Return what is stored of an invite token: 128 random bits need no salt."""
    return sha256(token.encode()).hexdigest()


def hash_password(password: str, salt: bytes) -> str:
    """
    Return what is stored of a password.

    :param salt: 16 random bytes.
    """
    digest = scrypt(password.encode(), salt=salt, **_SCRYPT)
    return f"{salt.hex()}:{digest.hex()}"


def is_token(party: Party, token: str) -> bool:
    """Is this the party's invite token? Takes equally long if it is not."""
    return hmac.compare_digest(party.token_hash, hash_token(token))


def is_password(party: Party, password: str) -> bool:
    """Is this the party's password? Takes equally long if it is not."""
    salt = bytes.fromhex(party.password_hash.partition(":")[0])
    return hmac.compare_digest(party.password_hash, hash_password(password, salt))


@attrs.define(eq=False)
class PartyFacts:
    """
    Shared by all states.

    :ivar party: as it is after the input.
    :ivar is_over: whether nobody is left in it.
    """

    party: Party
    is_over: bool = False

    def change(self, **facts: object) -> None:
        self.party = attrs.evolve(self.party, **facts)  # type: ignore[arg-type]

    def ensure_host(self, player_id: str) -> None:
        if player_id != self.party.leader:
            raise Refused(Code.NOT_HOST, "only the party's host can do this")

    def ensure_member(self, player_id: str) -> None:
        if self.party.member(player_id) is None:
            raise Refused(Code.NO_SUCH_PLAYER, "this player is not in your party")

    def without(self, player_id: str) -> None:
        """Remove a member; the next in line is the host then."""
        left = tuple(
            one for one in self.party.members if one.player.player_id != player_id
        )
        if not left:
            self.is_over = True
            return
        leader = self.party.leader
        if leader == player_id:
            leader = left[0].player.player_id
        self.change(members=left, leader=leader)

    def be_idle(self) -> None:
        """It waits for nothing; nobody is ready for what comes next."""
        self.party = self.party.in_state("idle")


class PartyInputs(Protocol):
    """What can happen to a party."""

    def join(self, member: PartyMember) -> None:
        """A player comes in, who may."""

    def leave(self, player_id: str) -> None:
        """A member leaves, or stayed away."""

    def kick(self, by: str, player_id: str) -> None:
        """The host removes a member."""

    def promote(self, by: str, player_id: str) -> None:
        """The host makes another member the host."""

    def invite(self, by: str, player_id: str) -> None:
        """The host invites a player."""

    def renew(self, by: str, token_hash: str) -> None:
        """The host has a new invite token."""

    def ready(self, player_id: str, is_ready: bool, loadout: bytes | None) -> None:
        """A member shows whether it is ready."""

    def queue(self, by: str, entry_id: str, game: str, options: bytes) -> None:
        """The host queues."""


def _states() -> tuple[Callable[..., PartyInputs], Mapping[PartyState, object]]:
    machine = TypeMachineBuilder(PartyInputs, PartyFacts)
    idle = machine.state("idle")
    in_queue = machine.state("in_queue")
    prematch = machine.state("prematch")
    in_game = machine.state("in_game")
    waiting = (in_queue, prematch)
    everywhere = (idle, in_queue, prematch, in_game)

    @idle.upon(PartyInputs.join).loop()
    def come_in(_: PartyInputs, facts: PartyFacts, member: PartyMember) -> None:
        party, player_id = facts.party, member.player.player_id
        if party.member(player_id) is not None:
            raise Refused(Code.ALREADY_IN_PARTY, "you are in this party")
        if len(party.members) >= party.size:
            raise Refused(
                Code.PARTY_FULL,
                f"this party has {party.size} members, and no more can join",
                {"limit": party.size},
            )
        facts.change(
            members=(*party.members, member),
            invited=tuple(one for one in party.invited if one != player_id),
        )

    @idle.upon(PartyInputs.ready).loop()
    def mark(
        _: PartyInputs,
        facts: PartyFacts,
        player_id: str,
        is_ready: bool,
        loadout: bytes | None,
    ) -> None:
        facts.change(
            members=tuple(
                attrs.evolve(
                    one,
                    is_ready=is_ready,
                    loadout=one.loadout if loadout is None else loadout,
                )
                if one.player.player_id == player_id
                else one
                for one in facts.party.members
            )
        )

    @idle.upon(PartyInputs.queue).to(in_queue)
    def enter(
        _: PartyInputs,
        facts: PartyFacts,
        by: str,
        entry_id: str,
        game: str,
        options: bytes,
    ) -> None:
        facts.ensure_host(by)
        facts.change(state="in_queue", entry_id=entry_id, game=game, options=options)

    # A party that waits, and loses a member, waits no longer.
    def go(_: PartyInputs, facts: PartyFacts, player_id: str) -> None:
        facts.without(player_id)

    def go_idle(_: PartyInputs, facts: PartyFacts, player_id: str) -> None:
        facts.without(player_id)
        facts.be_idle()

    def remove(_: PartyInputs, facts: PartyFacts, by: str, player_id: str) -> None:
        facts.ensure_host(by)
        facts.ensure_member(player_id)
        if by == player_id:
            raise Refused(Code.BAD_FIELD, "to go yourself, leave the party")
        facts.without(player_id)
        banned = (*facts.party.banned, player_id)
        facts.change(banned=banned[-_MOST_BANNED:])

    def remove_idle(_: PartyInputs, facts: PartyFacts, by: str, player_id: str) -> None:
        remove(_, facts, by, player_id)
        facts.be_idle()

    for state in (idle, in_game):
        state.upon(PartyInputs.leave).loop()(go)
        state.upon(PartyInputs.kick).loop()(remove)
    for state in waiting:
        state.upon(PartyInputs.leave).to(idle)(go_idle)
        state.upon(PartyInputs.kick).to(idle)(remove_idle)

    for state in everywhere:

        @state.upon(PartyInputs.promote).loop()
        def hand_over(
            _: PartyInputs, facts: PartyFacts, by: str, player_id: str
        ) -> None:
            facts.ensure_host(by)
            facts.ensure_member(player_id)
            facts.change(leader=player_id)

        @state.upon(PartyInputs.invite).loop()
        def call(_: PartyInputs, facts: PartyFacts, by: str, player_id: str) -> None:
            facts.ensure_host(by)
            invited = [one for one in facts.party.invited if one != player_id]
            banned = tuple(one for one in facts.party.banned if one != player_id)
            facts.change(invited=(*invited, player_id)[-_MOST_INVITED:], banned=banned)

        @state.upon(PartyInputs.renew).loop()
        def replace(
            _: PartyInputs, facts: PartyFacts, by: str, token_hash: str
        ) -> None:
            facts.ensure_host(by)
            facts.change(token_hash=token_hash)

    return machine.build(), {
        "idle": idle,
        "in_queue": in_queue,
        "prematch": prematch,
        "in_game": in_game,
    }


_machine, _state_of = _states()


def changed(party: Party, happened: Callable[[PartyInputs], None]) -> Party | None:
    """
    Return what becomes of a party; ``None`` if nobody is left in it.

    :param happened: gives its machine one input.
    :raises Refused: the input is not allowed, or not in this state (`NOT_NOW`).
    """
    facts = PartyFacts(party)
    try:
        happened(_machine(facts, _state_of[party.state]))
    except NoTransition:
        raise Refused(
            Code.NOT_NOW, _NOT_WHILE[party.state], {"state": party.state}
        ) from None
    if facts.is_over:
        return None
    return attrs.evolve(facts.party, version=party.version + 1)


_NOT_WHILE: Mapping[PartyState, str] = {
    "idle": "the party does not wait for a match",
    "in_queue": "the party waits for a match; its host cancels first",
    "prematch": "a match was found for the party",
    "in_game": "the party plays; wait until its match is over",
}
