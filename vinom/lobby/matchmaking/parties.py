"""Parties: players who come together first, and then queue and play together."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from typing import Protocol as Shape

import attrs
from msgspec import Raw
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.limits.addresses import AddressBuckets, AddressCounts
from vinom.base.limits.buckets import NetworkBuckets, network_of
from vinom.base.limits.logged import in_background
from vinom.base.messages.envelope import Push, Request
from vinom.base.messages.lobby import QueueStatus
from vinom.base.messages.parties import (
    MOST_LISTED,
    UNCHANGED,
    CreateParty,
    InviteToParty,
    JoinParty,
    KickFromParty,
    LeaveParty,
    ListParties,
    PartyClosed,
    PartyCreated,
    PartyFacts,
    PartyInvite,
    PartyList,
    PartySeat,
    PartyToken,
    PartyUpdate,
    PartyView,
    PromoteInParty,
    ReadyInParty,
    Who,
)
from vinom.base.model import (
    Party,
    PartyMember,
    PartyState,
    Player,
    QueueEntry,
    Whereabouts,
)
from vinom.errors import Code, Refused, StoreUnavailable
from vinom.lobby.conversation.online import Attendance, Online
from vinom.lobby.matchmaking.matchmaker import Matchmaker
from vinom.lobby.matchmaking.party import (
    PartyInputs,
    changed,
    hash_password,
    hash_token,
    is_password,
    is_token,
)
from vinom.lobby.matchmaking.queues import Queue
from vinom.store.interfaces import ILobbyStore
from vinom.store.patience import patiently

#: How often a change is tried again because somebody else was faster.
_MOST_TRIES = 20
#: Most passwords that wait to be hashed.
MOST_WAITING = 32

_Input = Callable[[PartyInputs], None]
_T = TypeVar("_T")


class InThread(Shape):
    """Runs what takes long outside the reactor's thread."""

    def __call__(self, call: Callable[[], _T], /) -> Deferred[_T]:
        """Call it, and give its result."""


@attrs.frozen
class PartyBounds:
    """
    Limits of parties.

    :ivar size: most members of one.
    :ivar most: most parties in all.
    :ivar per_address: most parties that players of one address created; four times
        that of its network.
    :ivar tries: wrong tokens and passwords per second of one address; four times that
        of its network.
    :ivar tries_burst: most at once.
    :ivar hashes: passwords made or tried per second of one address, right ones
        included; four times that of its network.
    :ivar hashes_burst: most at once.
    :ivar invites: invitations per second of one address; four times that of its
        network.
    :ivar invites_burst: most at once.
    :ivar invited: invitations per second that one player gets.
    :ivar invited_burst: most at once.
    :ivar away_seconds: how long a disconnected member stays in a party.
    """

    size: int = 16
    most: int = 20_000
    per_address: int = 64
    tries: float = 0.2
    tries_burst: int = 10
    hashes: float = 1.0
    hashes_burst: int = 20
    invites: float = 0.5
    invites_burst: int = 20
    invited: float = 0.1
    invited_burst: int = 5
    away_seconds: float = 60.0


class _Admission:
    """Who may open a party, or come into one: addresses, passwords, and invitations."""

    def __init__(
        self, bounds: PartyBounds, clock: IReactorTime, in_thread: InThread
    ) -> None:
        self._clock, self._in_thread, self._hashing = clock, in_thread, DeferredLock()
        tries, burst = bounds.tries, bounds.tries_burst
        self.tries = AddressBuckets(tries, burst)
        # Of passwords only: a token cannot be guessed, and stays usable.
        self._tries_of_party = NetworkBuckets(tries, burst)
        self._hashes = AddressBuckets(bounds.hashes, bounds.hashes_burst)
        self.invites = AddressBuckets(bounds.invites, bounds.invites_burst)
        self.invited = NetworkBuckets(bounds.invited, bounds.invited_burst)
        self.counts = AddressCounts(bounds.per_address)
        # Who opened a party at this node, by its id.
        self.opened: dict[str, str] = {}

    def uncount(self, party_id: str) -> None:
        """A party of this node is gone; others are not counted here."""
        host = self.opened.pop(party_id, None)
        if host is not None:
            self.counts.leave(host)

    async def recount(self, host: str, store: ILobbyStore) -> None:
        """Find which parties of an address other nodes have closed."""
        near = network_of(host)
        for party_id, opener in tuple(self.opened.items()):
            if network_of(opener) == near and await store.find(party_id) is None:
                self.uncount(party_id)

    async def hashed(self, host: str, call: Callable[[], _T]) -> _T:
        """
        Do what hashes a password, when it is its turn.

        :raises Refused: this address has done so too often, or too many others wait.
        """
        now = self._clock.seconds()
        if not self._hashes.take(host, now):
            raise Refused(
                Code.RATE_LIMITED,
                "your address uses too many passwords; try again later",
                {"retry_after": round(self._hashes.wait(host, now), 3)},
            )
        if len(self._hashing.waiting) >= MOST_WAITING:
            raise Refused(
                Code.BUSY,
                f"{MOST_WAITING} others wait for their passwords; try again",
                {"retry_after": 1.0},
            )
        return await self._hashing.run(self._in_thread, call)

    async def may_join(
        self, party: Party, player_id: str, asked: JoinParty, host: str
    ) -> bool:
        if player_id in party.banned:
            return False
        if player_id in party.invited:
            return True
        if asked.token is not None:
            return is_token(party, asked.token)
        if asked.password is not None and party.password_hash:
            now = self._clock.seconds()
            wait = self._tries_of_party.wait(party.party_id, now)
            if wait > 0:
                raise Refused(
                    Code.RATE_LIMITED,
                    "too many passwords were tried; ask the host for an invitation",
                    {"retry_after": round(wait, 3)},
                )
            # Before it is hashed, so that many guesses at once count, too.
            self._tries_of_party.take(party.party_id, now)
            is_wrong = False
            try:
                is_wrong = not await self.hashed(
                    host, partial(is_password, party, asked.password)
                )
            finally:
                # Nor does one count that was refused before it was looked at.
                if not is_wrong:
                    self._tries_of_party.put_back(party.party_id, now)
            return not is_wrong
        return party.is_open and not party.password_hash


class Parties(Service):
    """Serve requests about parties, and of those who are in one to queue."""

    name = "parties"
    _log = Logger()

    def __init__(
        self,
        store: ILobbyStore,
        matchmaker: Matchmaker,
        online: Online,
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
        bounds: PartyBounds | None = None,
        *,
        address: str = "",
        in_thread: InThread,
    ) -> None:
        """
        :param store: where parties are.
        :param matchmaker: matches their entries.
        :param online: sends messages to players.
        :param clock: its seconds are those of the Unix epoch.
        :param entropy: called with a number, returns that many random bytes.
        :param bounds: limits.
        :param address: where players reach this node, if it is not any of several.
        :param in_thread: hashes passwords.
        """
        self._store, self._matchmaker = store, matchmaker
        self._online, self._clock, self._entropy = online, clock, entropy
        self._bounds, self._address = bounds or PartyBounds(), address
        self._admission = _Admission(self._bounds, clock, in_thread)
        self._away = Attendance(online, clock, self._bounds.away_seconds, self._forget)
        matchmaker.follow(self)

    def stopService(self) -> None:
        """Stop waiting for those who are away; the store keeps the parties."""
        Service.stopService(self)
        self._away.stop()

    # Requests of players.

    async def serve(self, player: Player, request: Request, host: str) -> Push:
        """
        Answer a request about parties.

        :param host: the address that it came from.
        """
        me = player.player_id
        match request:
            case CreateParty():
                return await self._create(player, request, host)
            case JoinParty():
                return await self._join(player, request, host)
            case LeaveParty():
                party = await self._mine(me)
                await self._remove(me, "left", lambda it: it.leave(me))
                return PartyClosed(party.party_id, "left")
            case KickFromParty(other):
                if (await self._mine(me)).member(other) is None:
                    raise Refused(
                        Code.NO_SUCH_PLAYER, "this player is not in your party"
                    )
                await self._remove(other, "kicked", lambda it: it.kick(me, other))
                return await self._update(await self._mine(me))
            case PromoteInParty(chosen):
                return await self._update(
                    await self._change(me, lambda it: it.promote(me, chosen))
                )
            case InviteToParty(None):
                token = _secret(self._entropy)
                party = await self._change(
                    me, lambda it: it.renew(me, hash_token(token))
                )
                return PartyToken(party.party_id, token)
            case InviteToParty(player_id):
                return await self._invite(player, str(player_id), host)
            case ReadyInParty(is_ready, loadout):
                brings = None if loadout == UNCHANGED else bytes(loadout)
                return await self._update(
                    await self._change(me, lambda it: it.ready(me, is_ready, brings))
                )
            case ListParties():
                return await self._list(request)
        raise Refused(Code.UNKNOWN_TYPE, "no request about parties has this type")

    async def queue(
        self,
        player: Player,
        game: str | None,
        options: bytes,
        loadout: bytes,
        host: str,
        *,
        queue: str | None = None,
        echoes: Mapping[str, float] | None = None,
        is_alone: bool = False,
    ) -> QueueStatus:
        """
        Queue for a player, or for all of the party of which the player is the host.

        :param game: its name; ``None`` if *queue* is given.
        :param options: JSON, as the player sent it.
        :param loadout: likewise; of this player alone.
        :param host: the player's address.
        :param queue: the name of the queue; the game's default one unless given.
        :param echoes: milliseconds of an echo by region, as the player measured them;
            the other members of a party count as near this node.
        :param is_alone: it is in no party, as far as it was sent.
        :raises Refused: see `Matchmaker.add`; `NOT_HOST`; or `NOT_NOW`.
        """
        me = player.player_id
        for _ in range(_MOST_TRIES):
            # The store refuses one who is in a party all the same.
            party = None if is_alone else (await self._store.of_player(me)).party
            is_alone = False
            if party is None:
                status = await self._matchmaker.join(
                    player, game, options, loadout, host, queue=queue, echoes=echoes
                )
            else:
                found = self._matchmaker.queues.find(queue, game)
                status = await self._enter(
                    party, player, found, options, loadout, echoes or {}
                )
            if status is not None:
                return status
        raise StoreUnavailable("others changed the party each time")

    async def cancel(self, player_id: str) -> QueueStatus:
        """
        Take a player, or the party of which the player is the host, out of the queue.

        :raises Refused: see `Matchmaker.cancel`; or `NOT_HOST`.
        """
        party = (await self._store.of_player(player_id)).party
        if party is not None and party.state != "idle" and party.leader != player_id:
            raise Refused(Code.NOT_HOST, "only the party's host can do this")
        return await self._matchmaker.cancel(player_id)

    # Calls of `Requests`.

    async def player_lost(self, player_id: str, where: Whereabouts) -> None:
        """
        A player's line closed: keep the place in the party for a while.

        :param where: of the player, read with lines after that.
        """
        party = where.party
        if party is not None and self._online.away_of((player_id,), where):
            self._away.expect(player_id)
            await self._send(party, where)

    async def player_back(
        self, player_id: str, where: Whereabouts, is_new: bool
    ) -> PartyUpdate | None:
        """
        A player said hello: return how its party is, if it is in one.

        :param where: of the player, read with lines after that.
        :param is_new: the others must be sent that.
        """
        self._away.stop_waiting(player_id)
        if where.party is None:
            return None
        update = await self._update(where.party, where)
        if is_new:
            self._send_others(where.party, player_id, update)
        return update

    # Calls of the matchmaker.

    def entry_moved(self, entry: QueueEntry) -> None:
        """Send the members of a party what it does now."""
        self._run(self._tell(entry.party_id))

    async def _tell(self, party_id: str) -> None:
        party = await patiently(self._clock, lambda: self._store.find(party_id))
        if party is None:
            return
        await self._send(party)
        if party.state == "idle":
            # Those who went while it waited, or while its match lasted.
            for player_id in sorted(await self._away_of(party)):
                if player_id not in self._away:
                    self._away.expect(player_id)

    # Calls of the node.

    def freed(self, player_ids: Sequence[str]) -> None:
        """Players are in no match any more: send their parties that."""
        self._run(self._free(player_ids))

    async def _free(self, player_ids: Sequence[str]) -> None:
        told: set[str] = set()
        for player_id in player_ids:
            find = partial(self._store.of_player, player_id)
            where = await patiently(self._clock, find)
            party = None if where is None else where.party
            if party is not None and party.party_id not in told:
                told.add(party.party_id)
                await self._tell(party.party_id)

    # Coming and going.

    async def _create(
        self, player: Player, asked: CreateParty, host: str
    ) -> PartyCreated:
        await self._ensure_free(player.player_id)
        counts = await self._store.counts()
        if sum(counts.parties.values()) >= self._bounds.most:
            raise _too_many(self._bounds.most)
        size, options = self._bounds.size, b"{}"
        if asked.game is not None:
            queue = self._matchmaker.queues.find(None, asked.game)
            options = self._matchmaker.queues.options(queue, bytes(asked.options))
            size = min(size, queue.rule_for(options).shape.largest)
        token, password_hash = _secret(self._entropy), ""
        if asked.password is not None:
            salt = self._entropy(16)
            password_hash = await self._admission.hashed(
                host, partial(hash_password, asked.password, salt)
            )
        party = Party(
            b32encode(self._entropy(10)).decode().lower(),
            (PartyMember(player, host, bytes(asked.loadout)),),
            player.player_id,
            game=asked.game or "",
            options=options,
            is_open=asked.open,
            token_hash=hash_token(token),
            password_hash=password_hash,
            size=size,
            maker=host,
        )
        if self._admission.counts.is_full(host):
            await self._admission.recount(host, self._store)
        if not self._admission.counts.enter(host):
            raise _too_many(self._bounds.per_address)
        self._admission.opened[party.party_id] = host
        try:
            is_open = await self._store.open(party).addErrback(
                self._online.look_if_unsure, party.player_ids
            )
            if not is_open:
                await self._ensure_free(player.player_id)
                raise _in_party()
        except BaseException:
            self._admission.uncount(party.party_id)
            raise
        finally:
            self._await_absent(player.player_id)
        view = await self._view(party)
        return PartyCreated(party.party_id, token, self._address, view)

    async def _join(self, player: Player, asked: JoinParty, host: str) -> PartyUpdate:
        me = player.player_id
        await self._ensure_free(me)
        wait = self._admission.tries.wait(host, self._clock.seconds())
        if wait > 0:
            raise Refused(
                Code.RATE_LIMITED,
                "too many wrong invitations came from your address",
                {"retry_after": round(wait, 3)},
            )
        member = PartyMember(player, host, bytes(asked.loadout))
        for _ in range(_MOST_TRIES):
            party = await self._store.find(asked.party_id)
            if party is None or not await self._admission.may_join(
                party, me, asked, host
            ):
                self._admission.tries.take(host, self._clock.seconds())
                # One answer for both: who guesses learns nothing.
                raise Refused(
                    Code.NO_SUCH_PARTY,
                    "this party does not exist, or your token or password is wrong",
                )
            after = changed(party, lambda it: it.join(member))
            assert after is not None
            try:
                change = await self._store.change(after).addErrback(
                    self._online.look_if_unsure, after.player_ids
                )
            finally:
                self._await_absent(me)
            if change.is_done:
                update = await self._update(after)
                self._send_others(after, me, update)
                return update
            # Somebody else changed the party; or this player is in another one now.
            await self._ensure_free(me)
        raise StoreUnavailable("others changed the party each time")

    def _await_absent(self, player_id: str) -> None:
        """Wait for one whose line closed while it was about to be in a party."""
        if not self._online.is_here(player_id):
            self._away.expect(player_id)

    async def _invite(self, player: Player, invited: str, host: str) -> PartyUpdate:
        me, now = player.player_id, self._clock.seconds()
        wait = max(
            self._admission.invites.wait(host, now),
            self._admission.invited.wait(invited, now),
        )
        if wait > 0:
            raise Refused(
                Code.RATE_LIMITED,
                "too many invitations from your address, or to this player; send the "
                "invite token instead",
                {"retry_after": round(wait, 3)},
            )
        self._admission.invites.take(host, now)
        self._admission.invited.take(invited, now)
        party = await self._change(me, lambda it: it.invite(me, invited))
        self._online.send(
            [invited],
            PartyInvite(party.party_id, Who(me, player.name), party.game),
        )
        return await self._update(party)

    async def _list(self, asked: ListParties) -> PartyList:
        # Those that the second filter leaves out are read as well.
        most = asked.limit if asked.password is None else MOST_LISTED
        found = await self._store.listed(asked.game, most)
        return PartyList(
            tuple(
                _facts(party)
                for party in found
                if asked.password in (None, bool(party.password_hash))
            )[: asked.limit]
        )

    async def _remove(self, player_id: str, reason: str, happened: _Input) -> None:
        """Take a member out of its party, and its entry out of the queue."""
        for _ in range(_MOST_TRIES):
            where = await self._store.of_player(player_id)
            party = _its(where)
            after = changed(party, happened)
            if await self._stored(where, party, after, player_id):
                break
        else:
            raise StoreUnavailable("others changed the party each time")
        self._away.stop_waiting(player_id)
        if reason != "left" or not self._online.is_here(player_id):
            self._online.send([player_id], PartyClosed(party.party_id, reason))
        if after is not None:
            await self._send(after)

    async def _stored(
        self, where: Whereabouts, party: Party, after: Party | None, player_id: str
    ) -> bool:
        """
        Store a party that lost a member; ``False`` if somebody else was faster.

        :param where: of the member.
        :param after: what is left of it.
        """
        if after is not None:
            stored = self._store.change(after)
        else:
            stored = self._store.close(party.party_id, party.version)
        change = await stored.addErrback(
            self._online.look_if_unsure, party.player_ids, where.prematch
        )
        if not change.is_done:
            return False
        if after is None:
            self._admission.uncount(party.party_id)
        if change.left is not None:
            await self._matchmaker.took_out(change.left, player_id)
        return True

    # Changes.

    async def _mine(self, player_id: str) -> Party:
        return _its(await self._store.of_player(player_id))

    async def _ensure_free(self, player_id: str) -> None:
        """Check that a player is in no party and no queue."""
        where = await self._store.of_player(player_id)
        if where.party is not None:
            raise _in_party()
        if where.entry is not None:
            raise Refused(Code.ALREADY_QUEUED, "cancel first")

    async def _change(self, player_id: str, happened: _Input) -> Party:
        """Change the party of a player, and send the others how it is."""
        for _ in range(_MOST_TRIES):
            after = changed(await self._mine(player_id), happened)
            assert after is not None
            change = await self._store.change(after).addErrback(
                self._online.look_if_unsure, after.player_ids
            )
            if change.is_done:
                self._send_others(after, player_id, await self._update(after))
                return after
        raise StoreUnavailable("others changed the party each time")

    # Queueing.

    async def _enter(
        self,
        party: Party,
        player: Player,
        queue: Queue,
        options: bytes,
        loadout: bytes,
        echoes: Mapping[str, float],
    ) -> QueueStatus | None:
        """Queue a party; ``None``: it was changed meanwhile, try again."""
        me = player.player_id
        if party.state != "idle":
            raise Refused(_BUSY[party.state], "your party waits or plays already")
        members = tuple(
            attrs.evolve(one, loadout=loadout)
            if one.player.player_id == me and loadout != b"{}"
            else one
            for one in party.members
        )
        entry = self._matchmaker.new_entry(
            members,
            queue,
            options,
            party.party_id,
            echoes=[echoes if one.player.player_id == me else {} for one in members],
        )
        after = changed(
            party, lambda it: it.queue(me, entry.entry_id, queue.game, options)
        )
        assert after is not None
        entry = attrs.evolve(entry, suspended=bool(await self._away_of(party)))
        found = await self._matchmaker.add(entry, after)
        if found is None:
            return None
        others = [each for each in after.player_ids if each != me]
        self._online.send(others, await self._update(after))
        status = await self._matchmaker.admit(entry, found)
        self._online.look(others)
        self._online.send([me], await self._update(after))
        return status

    # Members who are away.

    def look_again(self) -> None:
        """The store may have lost that members who stayed away have left."""
        self._away.again()

    async def _forget(self, player_id: str) -> None:
        """Take a player who stayed away out of the party, unless it plays."""
        party = (await self._store.of_player(player_id)).party
        if party is None or party.state == "in_game":
            # Over UDP players have no line. `_tell` waits again after the match.
            return
        # The player may have left meanwhile.
        with suppress(Refused):
            await self._remove(player_id, "away", lambda it: it.leave(player_id))

    # What players are sent.

    async def _away_of(
        self, party: Party, where: Whereabouts | None = None
    ) -> frozenset[str]:
        """Who of a party is connected to no node, as far as this one can know?"""
        if where is not None:
            return self._online.away_of(party.player_ids, where)
        try:
            return frozenset(await self._online.away(party.player_ids))
        except StoreUnavailable:
            return self._online.away_of(party.player_ids, Whereabouts())

    async def _update(
        self, party: Party, where: Whereabouts | None = None
    ) -> PartyUpdate:
        return PartyUpdate(await self._view(party, where))

    async def _view(self, party: Party, where: Whereabouts | None = None) -> PartyView:
        away = await self._away_of(party, where)
        return PartyView(
            party.party_id,
            party.leader,
            tuple(
                PartySeat(
                    one.player.player_id,
                    one.player.name,
                    one.is_ready,
                    one.player.player_id not in away,
                )
                for one in party.members
            ),
            party.game,
            Raw(party.options),
            party.is_open,
            bool(party.password_hash),
            party.size,
            party.state,
            party.version,
        )

    async def _send(self, party: Party, where: Whereabouts | None = None) -> None:
        self._online.send(party.player_ids, await self._update(party, where))

    def _send_others(self, party: Party, player_id: str, update: PartyUpdate) -> None:
        self._online.send(
            [each for each in party.player_ids if each != player_id], update
        )

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        in_background(self._log, work, "a step of a party failed")


def _its(where: Whereabouts) -> Party:
    if where.party is None:
        raise Refused(Code.NOT_IN_PARTY, "create or join a party first")
    return where.party


def _secret(entropy: Callable[[int], bytes]) -> str:
    """Draw 128 random bits as 26 base32 characters."""
    return b32encode(entropy(16)).decode().rstrip("=").lower()


#: Why a party cannot queue.
_BUSY: dict[PartyState, Code] = {
    "in_queue": Code.ALREADY_QUEUED,
    "prematch": Code.ALREADY_QUEUED,
    "in_game": Code.ALREADY_IN_MATCH,
}


def _facts(party: Party) -> PartyFacts:
    leader = party.member(party.leader)
    return PartyFacts(
        party.party_id,
        "" if leader is None else leader.player.name,
        party.game,
        Raw(party.options),
        len(party.members),
        party.size,
        bool(party.password_hash),
    )


def _in_party() -> Refused:
    return Refused(Code.ALREADY_IN_PARTY, "leave your party first")


def _too_many(limit: int) -> Refused:
    return Refused(
        Code.TOO_MANY_PARTIES,
        "there are too many parties of your address, or in all",
        {"limit": limit},
    )
