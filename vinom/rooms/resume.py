"""The secrets by which players come back to rooms of this node."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256

from vinom.base.limits.buckets import NetworkBuckets
from vinom.base.messages.rooms import RoomClosed
from vinom.errors import Code, Refused
from vinom.lobby.conversation.conversation import Membership
from vinom.rooms.seating import Member

#: Bytes of a resume token before it is written as text.
RESUME_BYTES = 24
#: Rooms that closed while players were away, and whose end is kept for these.
_MOST_CLOSED = 4096
_NONE: Mapping[str, Membership] = {}


class ResumeSecrets:
    """Find a membership by its player, or by the secret that only the player has."""

    def __init__(
        self,
        entropy: Callable[[int], bytes],
        now: Callable[[], float],
        names_rooms: bool = False,
    ) -> None:
        """
        Begin without members.

        :param entropy: makes that many random bytes.
        :param now: returns the time, seconds.
        :param names_rooms: do secrets begin with the ids of their rooms, by which other
            nodes find them?
        """
        self._entropy, self._now, self._names_rooms = entropy, now, names_rooms
        # By the hash of the secret.
        self._resumes: dict[bytes, Membership] = {}
        self._players: dict[str, dict[str, Membership]] = {}
        self._closed: OrderedDict[bytes, RoomClosed] = OrderedDict()
        # Guessing resume tokens is hopeless; a client that tries has to wait.
        self._failures = NetworkBuckets(rate=0.5, burst=20)

    def __len__(self) -> int:
        return len(self._resumes)

    def away(self) -> int:
        """Count the members who are not connected."""
        return sum(
            membership.member.conversation is None
            for membership in self._resumes.values()
        )

    def of(self, player_id: str) -> Mapping[str, Membership]:
        """Find a player's memberships, by room."""
        return self._players.get(player_id, _NONE)

    def add(self, player_id: str, room_id: str, membership: Membership) -> None:
        """Remember that a player is a member of a room now."""
        self._players.setdefault(player_id, {})[room_id] = membership

    def find(self, resume: str, host: str) -> Membership:
        """
        Find the membership that a secret stands for.

        :param host: the address of the client that shows it.
        :raises Refused: it is wrong, or the room has closed.
        """
        shown = sha256(resume.encode()).digest()
        # A dict does not compare in constant time, but what it compares are hashes:
        # how long that takes gives nothing of the token away.
        membership = self._resumes.get(shown)
        if membership is None:
            closed = self._closed.pop(shown, None)
            if closed is not None:
                raise Refused(
                    Code.NO_SUCH_ROOM,
                    "this room has closed",
                    {
                        "room_id": closed.room_id,
                        "reason": closed.reason,
                        "outcome": closed.outcome,
                    },
                )
            self._count_guess(host)
            raise Refused(
                Code.BAD_RESUME,
                "this resume token is wrong, used up or expired; if you are known by "
                "your player_key, join_room gives you your seat back",
            )
        return membership

    def knows(self, resume: str) -> bool:
        """Does a secret stand for a membership, or did one until its room closed?"""
        shown = sha256(resume.encode()).digest()
        return shown in self._resumes or shown in self._closed

    def restore(self, room_id: str, membership: Membership) -> None:
        """Remember a member of a room that another node had."""
        self.add(membership.member.player_id, room_id, membership)
        self._resumes[membership.member.resume] = membership

    def renew(self, membership: Membership) -> str:
        """Make a new secret for a member; the one before is no longer valid."""
        member: Member = membership.member
        self._resumes.pop(member.resume, None)
        secret = urlsafe_b64encode(self._entropy(RESUME_BYTES)).decode()
        if self._names_rooms:
            secret = f"{membership.room.room_id}.{secret}"
        member.resume = sha256(secret.encode()).digest()
        self._resumes[member.resume] = membership
        return secret

    def forget(
        self, room_id: str, member: Member, closed: RoomClosed | None = None
    ) -> None:
        """
        Forget somebody who is no longer a member.

        :param closed: how the room closed, if that is why; a player who is away may
            still ask for it.
        """
        self._resumes.pop(member.resume, None)
        rooms = self._players.get(member.player_id)
        if rooms is not None:
            rooms.pop(room_id, None)
            if not rooms:
                del self._players[member.player_id]
        if closed is not None and member.conversation is None:
            self._closed[member.resume] = closed
            if len(self._closed) > _MOST_CLOSED:
                self._closed.popitem(last=False)

    def refuse_guesser(self, host: str) -> None:
        """
        Refuse an address that has shown too many wrong resume tokens.

        :raises Refused: it has.
        """
        wait = self._failures.wait(host, self._now())
        if wait > 0:
            raise _too_many(wait)

    def _count_guess(self, host: str) -> None:
        """
        Count a wrong resume token; a right one from that address is still taken.

        :raises Refused: there were too many.
        """
        now = self._now()
        if not self._failures.take(host, now):
            raise _too_many(self._failures.wait(host, now))


def _too_many(wait: float) -> Refused:
    return Refused(
        Code.RATE_LIMITED,
        "too many wrong resume tokens from your address",
        {"retry_after": round(wait, 3)},
    )


def room_named(resume: str) -> str:
    """Find the id of the room in a secret; empty if it names none."""
    return resume.rpartition(".")[0]
