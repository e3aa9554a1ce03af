"""A whole lobby on a virtual clock, with everything in memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from msgspec import Struct, json
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from tests.support.fleets import MemoryFleet
from tests.support.game_net import MemoryRecordings
from vinom.base.limits.addresses import AddressBuckets
from vinom.base.model import MatchPlan, Placement, QueueEntry, Whereabouts
from vinom.base.reactor.turns import TurnEnd
from vinom.base.tokens import TokenSigner, TokenVerifier
from vinom.errors import Code, StoreUnavailable
from vinom.game import Game
from vinom.lobby.conversation.conversation import Bounds, Conversation
from vinom.lobby.conversation.identity import Accounts, Identity
from vinom.lobby.conversation.online import Online
from vinom.lobby.matches.match import JoinTickets
from vinom.lobby.matches.outside import OutsideMatches
from vinom.lobby.matches.service import Matches
from vinom.lobby.matchmaking.matchmaker import Matchmaker
from vinom.lobby.matchmaking.parties import Parties
from vinom.lobby.matchmaking.queues import Queues
from vinom.lobby.matchmaking.ratings import Ratings
from vinom.node.requests import Lobby, Requests, offers_of
from vinom.rooms.matches import MatchRooms, Watching
from vinom.rooms.rooms import Rooms
from vinom.rooms.round import RoomBounds, RoomContext
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.players import MemoryPlayerStore, MemoryRatingStore

REALM = "game.vinom"
_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
_PRIVATE = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
_PUBLIC = _KEY.public_key().public_bytes(
    Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
)


class SizeOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Something to disagree about."""

    size: int = 10


class Duel(Game[Any, Any]):
    """The part of a game that the lobby uses."""

    name = "duel"
    actions = SizeOptions
    options = SizeOptions
    seats = (2, 2)


class Party(Game[Any, Any]):
    """A game of two to four."""

    name = "party"
    actions = SizeOptions
    options = SizeOptions
    seats = (2, 4)


class MemoryLine:
    """A line whose other end is the test."""

    def __init__(self, host: str = "127.0.0.1", ends_at_match: bool = True) -> None:
        self.host, self.ends_at_match = host, ends_at_match
        self.opened_at = 0.0
        self.sent: list[dict[str, Any]] = []
        self.is_closed = self.is_behind = False
        self.closed_for: tuple[Code | None, str] | None = None
        self.conversation: Conversation

    @property
    def has_unsent(self) -> bool:
        return self.is_behind

    def send(self, message: bytes) -> None:
        assert not self.is_closed, "said something on a closed line"
        text = message
        self.sent.append(json.decode(text))

    def admitted(self) -> None:
        """The hello was accepted."""

    def close(self, code: Code | None = None, reason: str = "") -> None:
        self.is_closed = True
        self.closed_for = code, reason

    def ask(self, kind: str, id: object = None, **data: Any) -> list[dict[str, Any]]:
        """Send one request; returns what was sent since."""
        asked = {"type": kind, "data": data} | ({} if id is None else {"id": id})
        self.conversation.received(json.encode(asked))
        return self.heard()

    def heard(self) -> list[dict[str, Any]]:
        """Take what was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent

    def hang_up(self) -> None:
        """The player closes the line."""
        self.is_closed = True
        self.conversation.lost()


def everybody(store: MemoryLobbyStore) -> list[QueueEntry]:
    """List all entries, longest wait first, suspended ones too."""
    places = sorted(store.state.queues.of_entries.values())
    return [store.state.entries[entry_id] for _, _, entry_id in places]


def running(store: MemoryLobbyStore) -> list[tuple[MatchPlan, Placement | None]]:
    """List all running matches, oldest first, with their places."""
    return [(match.plan, match.placement) for match in store.state.running.values()]


class Faulty:
    """
    A store whose steps fail, lose their answers or wait, as a test wants.

    :ivar is_away: nothing is answered, and nothing is done.
    :ivar failures: so many steps with these names are not taken; "*" is any.
    :ivar lost: so many answers of steps with these names are lost.
    :ivar held: steps with these names wait for `go_on`.
    :ivar late: steps with these names are taken at once, and answered by `go_on`.
    :ivar before: called once before the next step with this name.
    """

    def __init__(self, store: MemoryLobbyStore | None = None) -> None:
        self.store, self.is_away = store, False
        self.failures: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.held: set[str] = set()
        self.late: set[str] = set()
        self.before: dict[str, Callable[[], object]] = {}
        self.pending: list[tuple[str, Deferred[None]]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name.startswith("_") or name == "has" or not callable(found):
            return found
        return lambda *given, **more: self._step(name, lambda: found(*given, **more))

    def go_on(self) -> None:
        """Take the steps that wait."""
        pending, self.pending = self.pending, []
        for _, later in pending:
            later.callback(None)

    def _step(self, name: str, step: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        for counted in (name, "*"):
            if self.failures[counted] > 0:
                self.failures[counted] -= 1
                return fail(StoreUnavailable("no answer"))
        if self.is_away:
            return fail(StoreUnavailable("no answer"))
        if name in self.before:
            self.before.pop(name)()
        if name in self.held:
            self.pending.append((name, Deferred()))
            return self.pending[-1][1].addCallback(lambda _: step())
        answer = step()
        if name in self.late:
            self.pending.append((name, Deferred()))
            return self.pending[-1][1].addCallback(lambda _: answer)
        if self.lost[name] > 0:
            self.lost[name] -= 1
            return fail(StoreUnavailable("no answer"))
        return answer


def silent(*_: Any) -> Deferred[Any]:
    """A step that is not answered."""
    return fail(StoreUnavailable("silent"))


class Lined:
    """A store in memory that knows which players have lines to other nodes."""

    def __init__(self, store: Any, lines: Any) -> None:
        self._store, self._lines = store, lines

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def of_player(self, player_id: str, with_lines: bool = False) -> Deferred[Any]:
        def read(where: Whereabouts) -> Deferred[Whereabouts]:
            parts = [one for one in (where.party, where.entry) if one is not None]
            players = {each for one in parts for each in one.player_ids}
            elsewhere: Deferred[Any] = self._lines.elsewhere(sorted(players))
            return elsewhere.addCallback(
                lambda found: attrs.evolve(where, elsewhere=found)
            )

        found: Deferred[Any] = self._store.of_player(player_id)
        return found.addCallback(read) if with_lines else found


class LobbyWorld:
    """
    Everything between a line and the fleet.

    :cvar results: notes how rounds end, unless one is given.
    :ivar is_store_complete: has the store all that it should have?
    """

    results: Any = None
    is_store_complete = True

    def __init__(self, seed: int = 1, **parts: Any) -> None:
        self.clock: Clock = parts.get("clock") or Clock()
        if not self.clock.seconds():
            self.clock.advance(1_000_000.0)
        self.entropy = random.Random(seed).randbytes
        now = self.clock.seconds
        self.games = parts.get("games") or {"duel": Duel(), "party": Party()}
        self.fleet = parts.get("fleet") or MemoryFleet()
        self.lobby = parts.get("store") or MemoryLobbyStore(now)
        if isinstance(self.lobby, Faulty) and self.lobby.store is None:
            self.lobby.store = MemoryLobbyStore(now)
        store = self.lobby
        if "lines" in parts:
            store = Lined(store, parts["lines"])
        self.players = parts.get("players") or MemoryPlayerStore(
            now, parts.get("most_players", 200_000), self._is_needed
        )
        # An empty one is false.
        self.online = parts.get("online", Online(parts.get("lines")))
        self.token_keys = {"k": _PUBLIC}
        self.verifier = TokenVerifier(self.token_keys, REALM)
        join_tickets = JoinTickets(REALM, TokenSigner("k", _PRIVATE), self.entropy, now)
        self.identity = Identity(
            self.players,
            self.entropy,
            now,
            guests=parts.get("guests", "loopback"),
            accounts=Accounts(
                parts.get("checkers", ()),
                parts.get("claims", ()),
                parts.get("name_claim"),
            ),
            new_guests=parts.get("new_guests") or AddressBuckets(1e6, 10**6),
            is_complete=lambda: self.is_store_complete,
        )
        self.matches = Matches(
            self.fleet,
            store,
            self.online,
            self.games,
            join_tickets,
            self.clock,
            per_address=parts.get("matches_per_address", 10**6),
            results=parts.get("results", self.results),
            others=parts.get("others"),
            players=self.players,
            is_complete=lambda: self.is_store_complete,
        )
        self.queues = Queues(
            self.games,
            parts.get("tables"),
            accept_seconds=parts.get("accept_seconds", 0.0),
        )
        self.rating_store = MemoryRatingStore(now)
        regions = parts.get("regions", {})
        self.matchmaker = Matchmaker(
            store,
            self.matches,
            self.online,
            self.games,
            self.clock,
            self.entropy,
            queues=self.queues,
            ratings=Ratings(self.rating_store, self.clock),
            regions=regions,
        )
        self.parties = Parties(
            store,
            self.matchmaker,
            self.online,
            self.clock,
            self.entropy,
            parts.get("party_bounds"),
            address="192.0.2.1:4600",
            in_thread=parts.get("in_thread") or (lambda call: succeed(call())),
        )
        self.outside = OutsideMatches(
            self.matches, self.identity, self.games, self.entropy
        )
        self.recordings = MemoryRecordings()
        self.turns = TurnEnd(self.clock)
        self.rooms = Rooms(
            RoomContext(
                parts.get("seconds") or self.clock.seconds,
                self.clock,
                self.entropy,
                self.turns,
                self.recordings,
                parts.get("room_bounds", RoomBounds()),
                parts.get("guard"),
                parts.get("results", self.results),
                {} if parts.get("is_edited") else None,
            ),
            self.games,
            matches=self._match_rooms(parts.get("watching")),
            keeping=parts.get("keeping"),
            visits=parts.get("visits"),
        )
        self.requests = Requests(
            Lobby(
                self.identity,
                self.online,
                self.matchmaker,
                self.parties,
                self.matches,
                self.queues,
            ),
            self.rooms,
            offers_of(self.games, self.queues, regions.items()),
            self.clock,
            parts.get("bounds", Bounds()),
        )
        self.online.missed = self.requests.look_again

    def _is_needed(self, player_id: str) -> bool:
        return (
            self.online.is_here(player_id)
            or self.lobby.state.has(player_id)
            or self.rooms.directory.has(player_id)
        )

    def _match_rooms(self, watching: Watching | None) -> MatchRooms | None:
        """Have matches be played by way of the node, if that is wanted."""
        if watching is None:
            return None
        return MatchRooms(self.matches, self.fleet, self.games, watching)

    def line(self, host: str = "127.0.0.1", ends_at_match: bool = True) -> MemoryLine:
        """Open a line that has sent nothing yet."""
        line = self.make_line(host, ends_at_match)
        line.opened_at = self.clock.seconds()
        line.conversation = self.requests.open(line)
        return line

    def make_line(self, host: str, ends_at_match: bool) -> MemoryLine:
        """Make the line's other end."""
        return MemoryLine(host, ends_at_match)

    def hello(self, name: str, **line: Any) -> tuple[MemoryLine, dict[str, Any]]:
        """Open a line and say hello; returns it and the welcome's data."""
        opened = self.line(**line)
        said = opened.ask("hello", protocol=1, name=name)
        return opened, said[0]["data"]

    def back(self, key: str) -> tuple[MemoryLine, list[dict[str, Any]]]:
        """Come back with a player key; returns what follows the welcome."""
        line = self.line()
        said = line.ask("hello", protocol=1, player_key=key)
        assert said[0]["type"] == "welcome", said
        return line, said[1:]

    def queued(
        self, name: str, game: str = "party", **wish: Any
    ) -> tuple[MemoryLine, dict[str, Any]]:
        """Say hello and queue; what was sent is taken."""
        line, welcome = self.hello(name)
        said = line.ask("queue", game=game, **wish)
        assert said[0]["type"] == "queue_status", said
        return line, welcome
