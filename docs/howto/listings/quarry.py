"""Quarry: break stones; the level of an account decides how many at once."""

from msgspec import Struct

from vinom.game import Game, Outcome, State


class Hit(Struct, frozen=True, forbid_unknown_fields=True):
    """Break stones."""


class Worker(State, frozen=True):
    name: str
    player_id: str
    level: int
    stones: int = 0


class QuarryState(State, frozen=True):
    workers: tuple[Worker | None, ...]
    former: tuple[Worker, ...] = ()


def worker_of(seat):
    # Guests and bots have no claims, and who vouches may have named anything.
    level = seat.claims.get("level")
    if type(level) is not int or not 1 <= level <= 9:
        level = 1
    return Worker(seat.name, seat.player_id, level)


class Quarry(Game[QuarryState, Hit]):
    actions = Hit
    seats = (1, 4)
    late_join = True
    time_limit = 600.0

    def start(self, table):
        return QuarryState(tuple(worker_of(seat) for seat in table.seats))

    def act(self, s, seat, action, now):
        worker = s.workers[seat]
        return _put(s, seat, worker.with_(stones=worker.stones + worker.level))

    def left(self, s, seat, now):
        return _put(s, seat, None).with_(former=(*s.former, s.workers[seat]))

    def joined(self, s, seat, now, newcomer):
        worker = worker_of(newcomer)
        # Empty is the id of bots: it says nothing about who they are.
        same = [w for w in s.former if w.player_id and w.player_id == worker.player_id]
        if same:
            worker = worker.with_(stones=same[-1].stones)
        return _put(s, seat, worker)

    def outcome(self, s):
        stones = {n: w.stones for n, w in enumerate(s.workers) if w is not None}
        if sum(stones.values()) < 100:
            return None
        ranks = sorted(set(stones.values()), reverse=True)
        places = (tuple(n for n in stones if stones[n] == rank) for rank in ranks)
        return Outcome(round=1, places=tuple(places))

    def view(self, s, audience):
        # Not the levels: claims are nobody else's business unless a view shows them.
        return {
            "stones": [None if w is None else [w.name, w.stones] for w in s.workers]
        }


def _put(s, seat, worker):
    # A newcomer's seat may be the next number.
    return s.with_(workers=(*s.workers[:seat], worker, *s.workers[seat + 1 :]))
