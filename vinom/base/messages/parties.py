"""The messages of parties, and of matches that wait for everybody's yes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw, Struct

from vinom.base.messages.envelope import Push, Request, ShortText

#: Stands for a loadout that stays as it was; those of games are objects.
UNCHANGED = Raw(b"null")
#: Most parties of one list.
MOST_LISTED = 100

Password = Annotated[str, Meta(min_length=1, max_length=64)]


class CreateParty(Request, frozen=True, tag="create_party", tag_field="type"):
    """
    Form a party; you are its host.

    :ivar game: what you want to play; it filters lists, and limits the party's size.
    :ivar options: the game's options; without a game they do not count.
    :ivar password: lets in those who have it.
    :ivar open: list the party; anybody may join, with the password if there is one.
    :ivar loadout: what you bring, if the game accepts anything.
    """

    game: ShortText | None = None
    options: Raw = Raw(b"{}")
    password: Password | None = None
    open: bool = False
    loadout: Raw = Raw(b"{}")


class JoinParty(Request, frozen=True, tag="join_party", tag_field="type"):
    """
    Join a party.

    Players who were invited, and all players if it is open and has no password, need
    neither token nor password.

    :ivar party_id: which one.
    :ivar token: the invite token.
    :ivar password: the party's.
    :ivar loadout: what you bring, if the game accepts anything.
    """

    party_id: ShortText
    token: ShortText | None = None
    password: Password | None = None
    loadout: Raw = Raw(b"{}")


class LeaveParty(Request, frozen=True, tag="leave_party", tag_field="type"):
    """Leave your party; if it waits for a match, it stops."""


class KickFromParty(Request, frozen=True, tag="kick_from_party", tag_field="type"):
    """
    Remove a player from the party, of which you are the host.

    :ivar player_id: of the player, who cannot come back.
    """

    player_id: ShortText


class PromoteInParty(Request, frozen=True, tag="promote_in_party", tag_field="type"):
    """
    Make another member the host.

    :ivar player_id: of the member.
    """

    player_id: ShortText


class InviteToParty(Request, frozen=True, tag="invite_to_party", tag_field="type"):
    """
    Invite a player to the party, of which you are the host.

    :ivar player_id: of the player, who gets a `PartyInvite`; without it the answer is a
        new invite token, and the old one is no longer valid.
    """

    player_id: ShortText | None = None


class ReadyInParty(Request, frozen=True, tag="ready_in_party", tag_field="type"):
    """
    Show the others whether you are ready; the host may queue in any case.

    :ivar ready: whether you are.
    :ivar loadout: what you bring; null: it stays as it was.
    """

    ready: bool
    loadout: Raw = UNCHANGED


class ListParties(Request, frozen=True, tag="list_parties", tag_field="type"):
    """
    Ask for a `PartyList` of parties that you could join, the newest first.

    :ivar game: only those for this game.
    :ivar password: only those with (true) or without (false) a password.
    :ivar limit: how many at most.
    """

    game: ShortText | None = None
    password: bool | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_LISTED)] = 50


class Accept(Request, frozen=True, tag="accept", tag_field="type"):
    """
    Accept a match that was found for you: see `PrematchFound`.

    :ivar prematch_id: which one; unless sent, the one that waits for you.
    """

    prematch_id: ShortText | None = None


class Decline(Request, frozen=True, tag="decline", tag_field="type"):
    """
    Decline a match that was found for you; you leave the queue.

    :ivar prematch_id: which one; unless sent, the one that waits for you.
    """

    prematch_id: ShortText | None = None


class Who(Struct, frozen=True):
    """A player, as others see it."""

    player_id: str
    name: str


class PartySeat(Struct, frozen=True):
    """
    A member of a party.

    :ivar ready: whether the member says so.
    :ivar connected: whether the member has a connection.
    """

    player_id: str
    name: str
    ready: bool
    connected: bool


class PartyView(Struct, frozen=True):
    """
    How a party is.

    :ivar host: id of the member who queues, cancels, invites and removes.
    :ivar members: in the order in which they joined.
    :ivar game: what it is for; empty if the host has not said.
    :ivar options: the game's options.
    :ivar open: whether it is listed.
    :ivar password: whether it has a password.
    :ivar size: most members.
    :ivar state: "idle", "in_queue", "prematch" (a match waits for everybody's yes) or
        "in_game".
    :ivar version: rises with each change, except of `connected`.
    """

    party_id: str
    host: str
    members: tuple[PartySeat, ...]
    game: str
    options: Raw
    open: bool
    password: bool
    size: int
    state: str
    version: int


class PartyUpdate(Push, frozen=True, tag="party_update", tag_field="type"):
    """
    How your party is now; answers requests about it, and is sent with each change.
    """

    party: PartyView


class PartyCreated(Push, frozen=True, tag="party_created", tag_field="type"):
    """
    Your party, and what others need to join it; answers `CreateParty`.

    :ivar token: secret: whoever has it can join.
    :ivar address: of the lobby that keeps the party, ``host:port``; empty if any
        address of the service will do.
    """

    party_id: str
    token: str
    address: str
    party: PartyView


class PartyToken(Push, frozen=True, tag="party_token", tag_field="type"):
    """
    A new invite token; answers `InviteToParty` without a player.

    :ivar token: secret: whoever has it can join.
    """

    party_id: str
    token: str


class PartyInvite(Push, frozen=True, tag="party_invite", tag_field="type"):
    """
    The host of a party invites you: `JoinParty` needs no token.

    :ivar host: who invites you.
    :ivar game: what the party is for; may be empty.
    """

    party_id: str
    host: Who
    game: str


class PartyClosed(Push, frozen=True, tag="party_closed", tag_field="type"):
    """
    You are no longer in this party; answers `LeaveParty`.

    :ivar reason: "left", "kicked", "away": you were disconnected for too long, or
        "lost": the server lost the party, or your place in it.
    """

    party_id: str
    reason: str


class PartyFacts(Struct, frozen=True):
    """
    One party of a list.

    :ivar host: name of its host.
    :ivar members: how many there are.
    :ivar size: how many there can be.
    """

    party_id: str
    host: str
    game: str
    options: Raw
    members: int
    size: int
    password: bool


class PartyList(Push, frozen=True, tag="party_list", tag_field="type"):
    """Answers `ListParties`."""

    parties: tuple[PartyFacts, ...]


class PrematchFound(Push, frozen=True, tag="prematch", tag_field="type"):
    """
    Players were found for your match: send `Accept` or `Decline`.

    :ivar id: of this prematch.
    :ivar players: who would play.
    :ivar until: when silence counts as a no, seconds since the Unix epoch.
    :ivar seconds: how long that is from now.
    :ivar accepted: ids of the players who have accepted already.
    """

    id: str
    game: str
    players: tuple[Who, ...]
    until: float
    seconds: float
    accepted: tuple[str, ...] = ()


class PrematchUpdate(Push, frozen=True, tag="prematch_update", tag_field="type"):
    """
    How a prematch is now; answers `Accept` and `Decline`.

    :ivar state: "open"; "accepted": the match is being made; or "dissolved": a player
        declined or did not answer. Those who did not accept leave the queue with their
        parties, the others are at the front again.
    :ivar accepted: ids of the players who have accepted.
    :ivar retry_after: how long you may not queue, because you did not accept, seconds.
    """

    id: str
    state: str
    accepted: tuple[str, ...]
    retry_after: float = 0.0


#: The requests about parties.
PARTY_REQUESTS = (
    CreateParty,
    JoinParty,
    LeaveParty,
    KickFromParty,
    PromoteInParty,
    InviteToParty,
    ReadyInParty,
    ListParties,
)
