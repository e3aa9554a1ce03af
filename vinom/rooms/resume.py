"""Who has a place in a room of this node, and the secrets that give it back."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from msgspec import Raw

from vinom.conversation.conversation import Conversation, Followed
from vinom.errors import Code, Refused
from vinom.limits.buckets import NetworkBuckets
from vinom.messages.rooms import JoinRoomResult, ReconnectResult, RoomClosed
from vinom.rooms.member import Member

#: Bytes of a resume token before it is written as text.
RESUME_BYTES = 24
#: Rooms that closed while players were away, of which those are still told.
_MOST_CLOSED = 4096
_NONE: Mapping[str, Member] = {}


class Places:
    """
    Every place in a live room of this node.

    :param now: the time, seconds.
    """

    def __init__(
        self, entropy: Callable[[int], bytes], now: Callable[[], float]
    ) -> None:
        self._entropy, self._now = entropy, now
        # By the hash of the secret.
        self._resumes: dict[bytes, Member] = {}
        self._players: dict[str, dict[str, Member]] = {}
        self._closed: OrderedDict[bytes, RoomClosed] = OrderedDict()
        # Guessing resume tokens is hopeless; whoever tries it hears so.
        self._failures = NetworkBuckets(rate=0.5, burst=20)

    def __len__(self) -> int:
        return len(self._resumes)

    def away(self) -> int:
        """Count the places whose players are not connected."""
        return sum(member.conversation is None for member in self._resumes.values())

    def of(self, player_id: str) -> Mapping[str, Member]:
        """Find a player's places, by room."""
        return self._players.get(player_id, _NONE)

    def add(self, member: Member) -> None:
        """Somebody has a place now."""
        self._players.setdefault(member.player_id, {})[member.room_id] = member

    def find(self, resume: str, host: str) -> Member:
        """
        Find the place that a secret gives.

        :param host: who shows it.
        :raises Refused: it is wrong, or the room has closed.
        """
        shown = sha256(resume.encode()).digest()
        # A dict is no secret's friend, but what it compares are hashes: how long
        # that takes tells nothing of the token.
        member = self._resumes.get(shown)
        if member is None:
            told = self._closed.pop(shown, None)
            if told is not None:
                raise Refused(
                    Code.NO_SUCH_ROOM,
                    "this room has closed",
                    {
                        "room_id": told.room_id,
                        "reason": told.reason,
                        "outcome": told.outcome,
                    },
                )
            self._count_guess(host)
            raise Refused(
                Code.BAD_RESUME,
                "this resume token is wrong, used up or expired; if you are known by "
                "your player_key, join_room gives you your seat back",
            )
        return member

    def welcome(
        self,
        conversation: Conversation,
        member: Member,
        heard: int | None = None,
        *,
        is_again: bool = False,
    ) -> Followed:
        """Give a place to a connection, with a new secret."""
        room = member.room
        older = member.conversation
        is_first = member.epoch == 0
        if older is not None:
            member.disconnect()
            if older is not conversation:
                older.warn(
                    Refused(
                        Code.SEAT_TAKEN,
                        "a newer connection has your place in this room",
                        {"room_id": room.room_id},
                    )
                )
        self._resumes.pop(member.resume, None)
        secret = urlsafe_b64encode(self._entropy(RESUME_BYTES)).decode()
        proof = sha256(secret.encode()).digest()
        self._resumes[proof] = member
        member.connect(conversation, proof)
        if heard is not None:
            heard = max(heard, member.entered)
            member.told = min(heard, member.told)
            member.events_told = min(heard, member.events_told)
        # From here on it waits in the new line.
        member.events_sent, since = member.events_told, member.told
        missed = [] if is_first else room.missed(since, member)
        lost = 0 if is_first else room.how_many_lost(min(since, member.events_told))
        facts: dict[str, Any] = {
            "room_id": room.room_id,
            "game": room.name,
            "seat": member.seat,
            "resume": secret,
            "state": room.state,
            "options": Raw(room.options),
            "setup": room.setup(),
            "version": room.version,
            "acted": member.acting,
        }
        room.returned(member)
        facts["players"], facts["number"] = room.players(), room.number
        facts["host"] = room.host_seat()
        push = (
            ReconnectResult(**facts, lost=lost) if is_again else JoinRoomResult(**facts)
        )

        def follow() -> None:
            for message in missed:
                conversation.line.send(message)
            room.show_soon(member)

        return Followed(push, follow)

    def forget(self, member: Member, told: RoomClosed | None = None) -> None:
        """A member is out; one who is away may still ask what became of its room."""
        self._resumes.pop(member.resume, None)
        places = self._players.get(member.player_id)
        if places is not None:
            places.pop(member.room_id, None)
            if not places:
                del self._players[member.player_id]
        if told is not None and member.conversation is None:
            self._closed[member.resume] = told
            if len(self._closed) > _MOST_CLOSED:
                self._closed.popitem(last=False)

    def _count_guess(self, host: str) -> None:
        """
        Count a wrong resume token; who has a right one at that address gets in.

        :raises Refused: there were too many.
        """
        now = self._now()
        if not self._failures.take(host, now):
            raise Refused(
                Code.RATE_LIMITED,
                "too many wrong resume tokens from your address",
                {"retry_after": round(self._failures.wait(host, now), 3)},
            )
