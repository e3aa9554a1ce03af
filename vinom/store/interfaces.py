"""
What services use a store by; each implementation provides all of it.

Every method is one atomic step, and fails with `vinom.errors.StoreUnavailable` if the
outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from vinom.base.model import (
    Claim,
    Enqueued,
    EntryPage,
    Estate,
    KeptSeats,
    Lasting,
    Left,
    LeftMatch,
    LineEnd,
    LobbyCounts,
    MatchEnd,
    MatchPlan,
    NodeFacts,
    NodeLease,
    Party,
    PartyChange,
    Placement,
    Player,
    Prematch,
    QueueEntry,
    Rating,
    Standing,
    Started,
    Waiting,
    Whereabouts,
)

#: What a store answers to new ratings, see `IRatingStore.rate`.
RatingAnswer = Literal["done", "known", "changed"]

#: Where a player comes from who is stored, see `IPlayerStore.put`: has proved an
#: account, or is a new guest, or was in a store that was lost.
Origin = Literal["login", "guest", "lost"]


class ILobbyStore(Interface):
    """
    Where players are: their parties, what they wait for, and their matches.

    One store has all of it, so that each step moves everybody whom it is about, in the
    order of those taken. A player is in at most one party, waits with one entry, and is
    in one running match; who plays does not wait. An entry is that of a lone player or
    of a whole party, and the party's `Party.state` follows it in the same step. An
    entry in a prematch or in a match is in no queue, and knows its old place.

    Who waits or is in a party is settled by the same step, see `IPlayerStore.settle`.

    A step that is repeated does nothing more, and answers the same where its answer
    says how things are afterwards.

    Entries with the same game, options and queue name (`QueueEntry.pool`) are one
    queue, the longest wait first. No method reads more of a queue than it returns.
    """

    def of_player(player_id: str, with_lines: bool = False) -> Deferred[Whereabouts]:
        """
        Find everything about one player.

        :param with_lines: also who of its party and its entry has a line to another
            node that lives.
        """

    # Parties: each is changed as a whole, by its version.

    def open(party: Party) -> Deferred[bool]:
        """
        Store a new party. Fires ``False`` if its id is taken, or one of its members is
        in another party or waits alone.
        """

    def change(party: Party) -> Deferred[PartyChange]:
        """
        Replace the party with this id by *party*. If that is idle and the one before
        waits, its entry leaves.

        Nothing is changed unless the stored version is one less than that of *party*,
        and no new member is in another party or waits alone.
        """

    def close(party_id: str, version: int) -> Deferred[PartyChange]:
        """Forget a party of this version; its entry leaves."""

    def find(party_id: str) -> Deferred[Party | None]:
        """Find a party; ``None`` if it is gone."""

    def listed(game: str | None, most: int) -> Deferred[Sequence[Party]]:
        """
        List open parties that are idle and have a free place, the newest first.

        :param game: only those for this game.
        :param most: list at most this many.
        """

    # Waiting.

    def enqueue(entry: QueueEntry, party: Party | None = None) -> Deferred[Enqueued]:
        """
        Store *entry*, suspended or not, unless one of its players waits or plays.

        :param party: whose entry it is, as it is then; see `change`.
        """

    def leave(
        player_id: str, entry_id: str = "", away: float = 0.0, ready: bool = False
    ) -> Deferred[Left | None]:
        """
        Take the entry of a player out of its queue, or out of its prematch, which then
        ends; its other entries wait again.

        :param entry_id: only this one.
        :param away: only if the player has had no line to another node for so long,
            seconds; 0 does not ask.
        :param ready: only if it can be matched: its players go to a room.
        :returns: fires ``None`` if there is none.
        """

    def suspend(entry_id: str, is_suspended: bool) -> Deferred[bool]:
        """
        Make an entry unmatchable, or matchable again and this node's; it keeps its
        place. Fires ``False`` if it does not wait, or if its players, one of whom was
        believed away, all have lines to other nodes.
        """

    def page(
        game: str, options: bytes, queue: str, after: str, most: int
    ) -> Deferred[EntryPage]:
        """
        Read a part of a queue: entries that can be matched, longest wait first.

        An entry that can be matched from the first part to the last is in exactly one
        of them; one that comes or goes meanwhile may be in one.

        :param game: the queue's game.
        :param options: the queue's options, canonical JSON.
        :param queue: the queue's name; empty for the game's default queue.
        :param after: `EntryPage.next` of the part before; empty for the first one.
        :param most: read at most this many.
        """

    def places(entry_ids: Sequence[str]) -> Deferred[Sequence[int]]:
        """
        Find the places of several entries in their queues.

        :returns: 1 for the longest wait; suspended entries count. 0 for one that is
            gone, or in a prematch or match.
        """

    def waiting(game: str, options: bytes, queue: str = "") -> Deferred[Waiting]:
        """Count the players in a queue; *queue* is its name."""

    def counts() -> Deferred[LobbyCounts]:
        """Count the players in all queues, and the parties."""

    # Prematches.

    def propose(prematch: Prematch) -> Deferred[bool]:
        """
        Store *prematch*, and take all of its entries out of the queue, or do nothing.

        Fires ``False`` if one of its entries does not wait, or is suspended.
        """

    def answer(
        prematch_id: str, player_id: str, is_yes: bool
    ) -> Deferred[Prematch | None]:
        """
        Note a player's answer; the first one counts. A no ends the prematch: the
        player's entry leaves, and the others wait again.

        :returns: the prematch after that; ``None`` if it is gone, or the player is not
            in it.
        """

    def expire(prematch_id: str, now: float | None) -> Deferred[Prematch | None]:
        """
        End a prematch that not everybody has answered in time: entries of those who are
        silent leave, and the others wait again. One that all have accepted does not
        end: who was to make its match may be gone.

        :param now: seconds since the Unix epoch; ``None`` ends it at once, through no
            fault of its players: all wait again.
        :returns: the prematch as it was; ``None``, and nothing is changed, if it is
            gone or not overdue.
        """

    def count_decline(player_id: str, now: float, forget_at: float) -> Deferred[int]:
        """
        Count one more decline of a player, or of an address.

        :param now: seconds since the Unix epoch.
        :param forget_at: when all declines of this player are forgotten, likewise.
        :returns: how many there are now.
        """

    def declines(player_ids: Sequence[str]) -> Deferred[Sequence[tuple[int, float]]]:
        """
        Count the declines of some players.

        :returns: for each how many, and when the latest was, seconds since the Unix
            epoch.
        """

    # Matches, and ended ones for a while.

    def start(
        plan: MatchPlan, entry_ids: Sequence[str] = (), prematch_id: str = ""
    ) -> Deferred[Started]:
        """
        Record a match, and take its players' entries out of the queue, or out of a
        prematch to which everybody has said yes; all or nothing.

        :param entry_ids: those that it is made of. None: an outside matchmaker made it,
            and whatever its players wait with leaves.
        :param prematch_id: the one that these entries are in.
        """

    def placed(match_id: str, placement: Placement) -> Deferred[bool]:
        """Record where a match is played; fires ``False`` if it is over."""

    def adopt(plan: MatchPlan, placement: Placement) -> Deferred[bool]:
        """
        Record that this node goes on with a match that an earlier one has placed.

        Fires ``False`` if it is over. A store that is lost with the earlier node, as
        memory is, records it again for those of its players who are in no other match.
        """

    def restore(
        plan: MatchPlan,
        placement: Placement | None,
        player_ids: Sequence[str],
        entry_ids: Sequence[str] = (),
    ) -> Deferred[bool]:
        """
        Record a match of this node anew, in a store that has lost it, or everything.

        Its players' entries are taken out, as by `start`. A player who has got another
        match since then stays there; repeated when that is over, it has this one again.

        :param placement: where it is played; ``None`` if it has no place yet.
        :param player_ids: those of its players who have not left it.
        :param entry_ids: those that it was made of.
        :returns: fires ``False``, and changes nothing, if another node has the match,
            or one of these players knows its end.
        """

    def end(
        end: MatchEnd, expires_at: float, again: Sequence[str] = ()
    ) -> Deferred[bool]:
        """
        Record the end of a match; fires ``False`` if it was over already, or is one of
        another node whose lease lasts.

        :param expires_at: when it is forgotten, seconds since the Unix epoch.
        :param again: ids of entries that wait again at their old places: those of which
            no player has found something else meanwhile. One with a player who is
            connected to no node is suspended, as far as the store knows that.
        """

    def release(match_id: str, player_id: str) -> Deferred[bool]:
        """
        Let a player of a running match queue again, who was removed or left for good.
        Fires ``False`` if the player is not in this match.
        """

    def owner(match_id: str) -> Deferred[str | None]:
        """
        Find the node that has a running match.

        :returns: its id; empty if it is this one, ``None`` if the match is over.
        """

    # What nodes that are gone have left; nothing is with one node in memory.

    def matches_of(node_id: str, most: int) -> Deferred[Sequence[LeftMatch]]:
        """
        List some running matches of this node; none if all are over.

        :param node_id: of that node; empty for this one.
        :param most: list at most this many.
        """

    def abandon(node_id: str, most: int, seconds: float) -> Deferred[Estate | None]:
        """
        Take over entries of this node, and end its prematches, whose entries go back,
        and the lines to it.

        The caller owns these entries from now on. Those that have a player without a
        line to a running node are suspended.

        :param node_id: of that node; empty lists only for whom this one waits, which
            may not have got an answer.
        :param most: so many of each at most.
        :param seconds: after this time suspended ones are gone, if nobody has resumed
            or removed them: the caller may never have got the answer.
        :returns: what they were; ``None`` if this was done with all.
        """


class IRatingStore(Interface):
    """
    Ratings of players, in lists that have names, and whom each player met lately.

    Each is forgotten some time after its last use.
    """

    def standings(
        ratings: str, player_ids: Sequence[str]
    ) -> Deferred[Sequence[Standing]]:
        """
        Find the standing of each player; of one without rating, a newcomer's.

        :param ratings: name of the list; empty if only `Standing.recent` matters.
        """

    def rate(
        ratings: str,
        match_id: str,
        round: int,
        before: Mapping[str, Rating],
        after: Mapping[str, Rating],
        expires_at: Mapping[str, float],
    ) -> Deferred[RatingAnswer]:
        """
        Replace the ratings of a round's players, once per match and round.

        :param ratings: name of the list.
        :param before: what *after* was worked out from, by player id.
        :param after: the new ratings of the same players.
        :param expires_at: when each is forgotten, seconds since the Unix epoch.
        :returns: "done"; "known" if this round was rated already, or "changed" if a
            player has another rating than in *before*. Both change nothing.
        """

    def met(sides: Sequence[Sequence[str]], expires_at: float) -> Deferred[None]:
        """
        Note who plays against whom in a match.

        :param sides: the ids of the players of each team, or of each lone player.
        :param expires_at: when this is forgotten, seconds since the Unix epoch.
        """


class IPlayerStore(Interface):
    """Players who have said hello, each found by the hash of a secret key."""

    def put(
        key_hash: str,
        player: Player,
        expires_at: float,
        host: str = "",
        origin: Origin = "login",
    ) -> Deferred[bool]:
        """
        Store *player*, or let it be stored for longer.

        A store that is full forgets guests who have only said hello first.

        :param expires_at: seconds since the Unix epoch.
        :param host: the address that the player came from.
        :returns: fires ``False``, and changes nothing, if the store is full of players
            who are needed and this is a guest; or if this one was lost, and the key is
            known.
        """

    def find(
        key_hash: str, expires_at: float = 0.0, host: str = ""
    ) -> Deferred[Player | None]:
        """
        Find a player by the hash of its key; ``None`` if unknown or expired.

        :param expires_at: stored until then, seconds since the Unix epoch, because the
            player came back, and is no guest any more who has only said hello; 0
            changes nothing.
        :param host: the address that the player came from.
        """

    def settle(player_id: str) -> None:
        """
        Note that a guest has joined a room: others are forgotten before it.

        `ILobbyStore` notes who queues or joins a party.
        """

    def keys_of(player_ids: Sequence[str]) -> Deferred[Sequence[tuple[str, Player]]]:
        """
        Find the hash of the newest key of each of these players, and the player.

        Those who are not known are left out.
        """


class INodeStore(Interface):
    """
    The nodes of one deployment, each with a lease.

    A node acts on what it owns while its lease lasts. Each lease has a number, larger
    than all before; a write that names the number of a lease that is over is refused
    with `vinom.errors.LeaseLost`.
    """

    epoch = Attribute(
        "What the store had a name for at the last `register`: another name means that "
        "it had lost everything in between"
    )
    restoring = Attribute(
        "For how many seconds other nodes still put back what the store had lost, when "
        "`register` or `renew` was answered last; 0 if it has everything"
    )

    def register(
        node: NodeFacts, seconds: float, restoring: float = 0.0
    ) -> Deferred[int]:
        """
        Start a lease, also for a node whose lease is over.

        :param seconds: how long it lasts, from now on the store's clock.
        :param restoring: how long nodes take to put back what the store had lost,
            seconds, if this node finds that it was lost.
        :returns: the lease's number.
        """

    def renew(node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        """
        Let a lease last *seconds* from now, and replace what is known of the node.

        Fires ``False`` if the lease is over.
        """

    def leave(node_id: str, lease: int) -> Deferred[bool]:
        """
        Remove a node with this lease: by itself when it stops, or by another that takes
        over what it owned. Fires ``False`` if it is not there: only one can remove it.

        One that still has entries or matches is not removed: its lease ends now.
        """

    def nodes(expired: bool = False) -> Deferred[Sequence[NodeLease]]:
        """
        List the nodes whose leases last.

        :param expired: those whose leases are over and that were not removed, instead.
        """


class IOnlineWatch(Interface):
    """Gets what other nodes send to this one about players; messages may be lost."""

    def passed(player_ids: Sequence[str], message: bytes) -> None:
        """
        Send players of this node a message.

        :param message: as a client receives it.
        """

    def replaced(player_id: str, epoch: int) -> None:
        """Close the line of this epoch: its player has said hello at another node."""

    def listens() -> None:
        """Note that messages come now; earlier ones may have been missed."""


class IOnlineStore(Interface):
    """
    Which node has a player's line: the newest, on whatever node.

    Each line has an epoch, larger than those of the player's earlier lines.
    """

    def enter(player_id: str) -> Deferred[int]:
        """
        Record that this node has the player's newest line, and return its epoch.

        The node of an older one is sent that it was replaced.
        """

    def leave(player_id: str) -> Deferred[LineEnd]:
        """Forget a player's line to this node; one to another node is newer."""

    def keep(lines: Sequence[tuple[str, int]]) -> Deferred[Sequence[str]]:
        """
        Record lines of this node again, which the store may have lost.

        :param lines: players and epochs.
        :returns: the players who have newer lines at other nodes.
        """

    def elsewhere(player_ids: Sequence[str]) -> Deferred[Sequence[str]]:
        """List those of the players who have a line to another node that lives."""

    def absence(player_id: str) -> Deferred[float]:
        """
        Find for how long a player has had no line to another node that lives, seconds.

        :returns: fires 0 if there is one, infinity if that is not known any more, and
            next to nothing if it is not known yet.
        """

    def send(player_ids: Sequence[str], message: bytes) -> Deferred[int]:
        """
        Send a message to those of the players who have lines to other nodes.

        Nothing acknowledges it.

        :param message: as a client receives it.
        :returns: how many nodes got it: those of players listen, or lose it.
        """

    def watch(watch: IOnlineWatch) -> None:
        """Call *watch* about what other nodes send to this one."""


class IOwnedStore(Interface):
    """
    Things that one node has and another takes over, and what it must know to go on.

    They are of one kind: rooms, with their latest checkpoints; copies of matches; or
    game servers with matches, with their records, each of which only nodes on one
    machine find.

    A thing is another node's only after its owner's lease is over, or after its owner
    has released it. Each ownership has a number (the fence), larger than all before.
    Nothing is kept for ever: what is kept has a lifetime of a day after the last write,
    and a room that is `Lasting` of 30 days after its grace, as the keys of its players.
    """

    def put(
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        is_ahead: bool = False,
        lasting: Lasting | None = None,
    ) -> Deferred[bool]:
        """
        Keep the latest checkpoint, or record, of a thing of this node.

        :param fence: number of this node's ownership; 1 for a new one.
        :param data: the checkpoint or record.
        :param grace: how long a room waits for its players if this node dies, seconds.
        :param is_ahead: fire only when a replica of the store, if it has one, has the
            checkpoint, too.
        :param lasting: of a room that goes on while nobody is connected: it has no
            grace, and any node may go on with it when the owner's lease is over.
        :returns: fires ``False``, and keeps nothing, if another node has it, or may
            have it, because it is released.
        :raises LeaseLost: this node's own lease is over.
        """

    def release(
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        lasting: Lasting | None = None,
    ) -> Deferred[bool]:
        """
        Let any node take over a thing of this node, as it is now.

        A room is given up. A game server is this node's until another node takes it:
        repeat this to write its newest record, and see whether one has.

        :param grace: how long a room waits for its players from now on, seconds: then
            a node ends it, or does what is due in it.
        :param lasting: see `put`: the room sleeps, and its grace ends at its deadline.
            Without it a room that was `Lasting` is given back with what it had.
        :returns: fires ``False``, and changes nothing, if this node does not have it,
            for example because it has released the room before.
        :raises LeaseLost: this node's own lease is over.
        """

    def claim(
        thing_id: str, reserve: bool = False, again: bool = False, gone: str = ""
    ) -> Deferred[Claim]:
        """
        Take over a thing that was released, or whose owner's lease is over.

        Of several nodes that ask, one gets it.

        :param reserve: if nobody has a thing with this id, keep the id for this node.
        :param again: even if a game has ended in an earlier room with it.
        :param gone: id of a node of which the caller knows that it has ended, whatever
            its lease.
        :raises LeaseLost: this node's own lease is over.
        """

    def remove(thing_id: str, fence: int, ending: str = "") -> Deferred[bool]:
        """
        Forget a thing of this node that is over, also a game server that it released.

        :param ending: if a game was played in a room, why that ended: claims of the
            next 24 hours answer that.
        :returns: fires ``False`` if another node has it, or had it at its end.
        :raises LeaseLost: this node's own lease is over.
        """

    def left(node_id: str, most: int) -> Deferred[Sequence[bytes]]:
        """
        List what may be taken over: rooms only when their grace is over.

        :param node_id: of the node that had them; empty for those that were released,
            the longest overdue first, and for those that are `Lasting` and whose owner
            is gone. Of these one that is listed is not listed again for two seconds.
        :param most: list at most this many.
        :returns: ids of rooms, or records of game servers on this machine; none while
            the lease of that node lasts.
        """

    def asleep(most: int) -> Deferred[KeptSeats]:
        """
        Find rooms that no node has, those first in which something is due next.

        :param most: find at most this many.
        """

    def seats_of(player_id: str, opener: str = "") -> Deferred[KeptSeats]:
        """
        Find the `Lasting` rooms in which a player has a seat.

        :param opener: an address, whose rooms are counted.
        """
