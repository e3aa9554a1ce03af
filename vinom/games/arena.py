"""
Arena: run for gems, and dash into players who have more.

Run over gems to take them: each is a point. A dash makes you three times as fast
for a moment, and takes a point from each player whom you hit.

The first player with enough points wins, or the one with the most when time is
up.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import isqrt
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from vinom.game import (
    Chance,
    Event,
    Game,
    Outcome,
    Seat,
    State,
    Step,
    Table,
    put,
    ranked,
)
from vinom.turns import Rematch, agree, is_agreed

TICK_HZ = 20

WIDTH = 24_000
HEIGHT = 13_500
#: Half a player's width.
HALF = 400
#: Distance per tick.
SPEED = 160
DASH_SPEED = 480
#: In ticks: how long a dash takes, how long until the next, and how long a player who
#: was hit is safe from the next hit.
DASH_TICKS = 5
REST_TICKS = 40
SAFE_TICKS = 30
#: A gem nearer than this along each axis, from centre to centre, is taken.
REACH = 650
#: Greatest component of a move's direction along one axis.
FULL = 100

#: Left, top, width, height.
Wall = tuple[int, int, int, int]
Point = tuple[int, int]

#: Where players begin; there are no walls near the edge.
STARTS: tuple[Point, ...] = (
    *((1200, 1200), (WIDTH - 1200, HEIGHT - 1200)),
    *((WIDTH - 1200, 1200), (1200, HEIGHT - 1200)),
    *((WIDTH // 2, 1200), (WIDTH // 2, HEIGHT - 1200)),
    *((1200, HEIGHT // 2), (WIDTH - 1200, HEIGHT // 2)),
)

#: Each cell of a grid has one wall, at least this far from the cell's sides, so that a
#: player fits between any two walls.
_MARGIN = 500
_CELL_WIDTH, _CELL_HEIGHT = 4800, 4500
_COLUMNS, _ROWS = 4, 2
_SHORTEST, _LONGEST = 800, 3000


def build_walls(chance: Chance) -> tuple[tuple[Wall, ...], Chance]:
    """Draw the walls; they are the same after a half turn of the field."""
    walls: list[Wall] = []
    left = (WIDTH - _COLUMNS * _CELL_WIDTH) // 2
    top = (HEIGHT - _ROWS * _CELL_HEIGHT) // 2
    for cell in range(_COLUMNS * _ROWS // 2):
        column, row = divmod(cell, _ROWS)
        drawn, chance = chance.below(_LONGEST - _SHORTEST + 1)
        width = _SHORTEST + drawn
        drawn, chance = chance.below(_LONGEST - _SHORTEST + 1)
        height = _SHORTEST + drawn
        right, chance = chance.below(_CELL_WIDTH - 2 * _MARGIN - width + 1)
        down, chance = chance.below(_CELL_HEIGHT - 2 * _MARGIN - height + 1)
        x = left + column * _CELL_WIDTH + _MARGIN + right
        y = top + row * _CELL_HEIGHT + _MARGIN + down
        walls.append((x, y, width, height))
        walls.append((WIDTH - x - width, HEIGHT - y - height, width, height))
    return tuple(walls), chance


def is_free(walls: tuple[Wall, ...], x: int, y: int) -> bool:
    """Can a player be there?"""
    if not (HALF <= x <= WIDTH - HALF and HALF <= y <= HEIGHT - HALF):
        return False
    return not any(_overlaps(wall, x, y) for wall in walls)


@lru_cache(maxsize=256)
def free_points(walls: tuple[Wall, ...]) -> tuple[Point, ...]:
    """List where gems may be: points of a grid that a player can reach."""
    return tuple(
        (x, y)
        for y in range(750, HEIGHT, 750)
        for x in range(750, WIDTH, 750)
        if is_free(walls, x, y)
    )


def velocity(x: int, y: int, speed: int) -> Point:
    """
    Turn a direction into a movement per tick.

    A direction of length `FULL` or more gives full speed; a shorter one is slower in
    proportion.

    :param x: the direction's component to the right.
    :param y: its component downwards.
    :param speed: full speed, distance per tick.
    """
    square = x * x + y * y
    # Rounded up, so that a diagonal is never faster.
    length = isqrt(square - 1) + 1 if square else 0
    scale = max(length, FULL)
    return _share(speed, x, scale), _share(speed, y, scale)


def _share(speed: int, part: int, whole: int) -> int:
    # Rounded towards zero; otherwise left would be faster than right.
    share = speed * abs(part) // whole
    return share if part >= 0 else -share


def slide(walls: tuple[Wall, ...], x: int, y: int, dx: int, dy: int) -> Point:
    """
    Move a player, who slides along walls.

    A player cannot jump over a wall: one step is shorter than a wall and a player
    together.

    :returns: the new position.
    """
    if dx:
        x = min(max(x + dx, HALF), WIDTH - HALF)
        for wall in walls:
            if _overlaps(wall, x, y):
                x = wall[0] - HALF if dx > 0 else wall[0] + wall[2] + HALF
    if dy:
        y = min(max(y + dy, HALF), HEIGHT - HALF)
        for wall in walls:
            if _overlaps(wall, x, y):
                y = wall[1] - HALF if dy > 0 else wall[1] + wall[3] + HALF
    return x, y


def _overlaps(wall: Wall, x: int, y: int) -> bool:
    left, top, width, height = wall
    return (
        left - HALF < x < left + width + HALF and top - HALF < y < top + height + HALF
    )


Axis = Annotated[int, Meta(ge=-FULL, le=FULL)]
Phase = Literal["playing", "over"]


class ArenaOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    When a round ends, and how many gems there are.

    :ivar points: a player with this many wins at once.
    :ivar seconds: length of a round, match time.
    :ivar gems: number on the field.
    """

    points: Annotated[int, Meta(ge=1, le=100)] = 15
    seconds: Annotated[int, Meta(ge=5, le=600)] = 90
    gems: Annotated[int, Meta(ge=1, le=8)] = 5


class Move(Struct, frozen=True, forbid_unknown_fields=True, tag="move"):
    """
    Go in this direction until the next move; ``0, 0`` stops.

    :ivar x: to the right.
    :ivar y: down.
    """

    x: Axis
    y: Axis


class Dash(Struct, frozen=True, forbid_unknown_fields=True, tag="dash"):
    """Be three times as fast for a moment."""


Action = Move | Dash | Rematch


class ArenaSetup(Struct, frozen=True):
    """
    What never changes.

    :ivar size: a player's width.
    :ivar speed: distance per tick; ``dash_speed`` likewise.
    :ivar walls: ``[left, top, width, height]`` of each.
    :ivar reach: a gem nearer than this along each axis is taken.
    :ivar points: a player with this many wins at once.
    """

    walls: tuple[Wall, ...]
    points: int
    width: int = WIDTH
    height: int = HEIGHT
    size: int = 2 * HALF
    speed: int = SPEED
    dash_speed: int = DASH_SPEED
    dash_ticks: int = DASH_TICKS
    rest_ticks: int = REST_TICKS
    tick_hz: int = TICK_HZ
    reach: int = REACH


class Player(State, frozen=True, array_like=True):
    """
    One player; on the wire an array of these, in this order.

    :ivar vx: movement in the last tick; ``vy`` likewise.
    :ivar dash: ticks left of the player's dash.
    :ivar rest: ticks until the player may dash again.
    :ivar safe: ticks during which nobody can hit the player.
    :ivar to_x: the direction the player wants, as in `Move`; ``to_y`` likewise.
    """

    x: int
    y: int
    vx: int = 0
    vy: int = 0
    points: int = 0
    dash: int = 0
    rest: int = 0
    safe: int = 0
    to_x: int = 0
    to_y: int = 0


class ArenaView(Struct, frozen=True):
    """
    What all players and spectators see.

    :ivar ends: the tick at which the round is over.
    :ivar players: by seat; ``None`` for a seat that was given up.
    :ivar gems: ``[x, y]`` of each.
    :ivar rematch: seats that ask for another round.
    """

    tick: int
    ends: int
    round: int
    phase: Phase
    players: tuple[Player | None, ...]
    gems: tuple[tuple[int, int], ...]
    winners: tuple[int, ...]
    rematch: tuple[int, ...]


class ArenaState(State, frozen=True):
    """
    A moment in the arena; fields that are also in the view are described there.

    :ivar target: a player with this many points wins.
    :ivar length: of a round, ticks.
    """

    target: int
    length: int
    walls: tuple[Wall, ...]
    chance: Chance
    players: tuple[Player | None, ...]
    gems: tuple[Point, ...]
    tick: int = 0
    ends: int = 0
    round: int = 1
    phase: Phase = "playing"
    winners: tuple[int, ...] = ()
    rematch: tuple[int, ...] = ()


class Arena(Game[ArenaState, Action]):
    """
    The rules of a game with ticks: actions set what a player wants, `tick` moves all.

    Views hold positions, the movement of the last tick and its number, so a client can
    draw the moments between two ticks. All lengths are whole numbers, so every machine
    computes the same positions. A player is a square parallel to the axes, whatever
    shape a client draws.
    """

    name = "arena"
    icon = "/boards/arena.svg"
    board = "/boards/arena.js"
    actions = Action
    shows = ArenaView
    options = ArenaOptions
    seats = (2, 8)
    late_join = True
    schema = 2
    tick_hz = TICK_HZ
    durability = "behind"
    absent = "bot"
    bot_seconds = 0.25
    linger = 30.0

    def start(self, table: Table) -> ArenaState:
        """Build the walls, and place players and gems."""
        options = table.options
        walls, chance = build_walls(table.chance)
        return _place_all(
            ArenaState(
                target=options.points,
                length=options.seconds * TICK_HZ,
                walls=walls,
                chance=chance,
                players=(Player(0, 0),) * len(table.seats),
                gems=((0, 0),) * options.gems,
            )
        )

    def act(self, s: ArenaState, seat: int, action: Action, now: float) -> ArenaState:
        """Change nothing: a game with ticks receives actions in `tick`, never here."""
        return s

    def tick(
        self, s: ArenaState, inputs: tuple[tuple[int, Action], ...], n: int
    ) -> ArenaState | Step[ArenaState]:
        """Apply the inputs, move all players, then find hits and gems taken."""
        if s.phase == "over":
            return _ask_rematch(s, inputs, n)
        players = list(s.players)
        for seat, action in inputs:
            players[seat] = _heed(players[seat], action)
        players = [one and _move(s.walls, one) for one in players]
        # A different player goes first in each tick, so no seat has an advantage.
        count = len(players)
        order = [(n + step) % count for step in range(count)]
        events = _hit(players, order)
        gems, chance = list(s.gems), s.chance
        for seat in order:
            taken, chance = _take_gems(s.walls, players, seat, gems, chance)
            events += taken
        s = s.with_(tick=n, players=tuple(players), gems=tuple(gems), chance=chance)
        step = Step(s, tuple(events))
        is_won = any(one and one.points >= s.target for one in players)
        return step.then(_finish) if is_won or n >= s.ends else step

    def joined(
        self, s: ArenaState, seat: int, now: float, newcomer: Seat
    ) -> ArenaState:
        """Let a newcomer begin in the middle of the round, without points."""
        drawn, chance = s.chance.below(len(STARTS))
        player = Player(*STARTS[drawn], safe=SAFE_TICKS)
        players = (*s.players[:seat], player, *s.players[seat + 1 :])
        return s.with_(players=players, chance=chance)

    def dropped(self, s: ArenaState, seat: int, now: float) -> ArenaState:
        """Stop a player without a connection until the bot takes over."""
        player = s.players[seat]
        still = player and player.with_(to_x=0, to_y=0)
        return s.with_(players=put(s.players, seat, still))

    def left(
        self, s: ArenaState, seat: int, now: float
    ) -> ArenaState | Step[ArenaState]:
        """Take a player who leaves off the field; the last player on it wins."""
        rematch = tuple(one for one in s.rematch if one != seat)
        s = s.with_(players=put(s.players, seat, None), rematch=rematch)
        if s.phase == "over":
            # The remaining players may have been waiting for this one.
            n = int(now * TICK_HZ)
            return _again(s, n) if is_agreed(rematch, _here(s)) else s
        return s if len(_here(s)) > 1 else _finish(s)

    def setup(self, s: ArenaState) -> ArenaSetup:
        """Show the field, and the rules of movement."""
        return ArenaSetup(s.walls, s.target)

    def outcome(self, s: ArenaState) -> Outcome | None:
        """Rank by points; equal points share a rank, players who left come last."""
        if s.phase != "over":
            return None
        scores = _scores(s)
        gone = tuple(seat for seat, one in enumerate(s.players) if one is None)
        places = ranked(scores, _here(s))
        return Outcome(s.round, (*places, gone) if gone else places, scores)

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> Action | None:
        """Run to the nearest gem, or around a wall that is in the way."""
        if view["phase"] == "over":
            return agree(view["rematch"], seat)
        me = view["players"][seat]
        if me is None:
            return None
        x, y, vx, vy, _, _, rest, *_ = me
        gem_x, gem_y = min(
            view["gems"], key=lambda gem: (gem[0] - x) ** 2 + (gem[1] - y) ** 2
        )
        right, down = gem_x - x, gem_y - y
        drawn, chance = chance.below(8)
        if not vx and not vy and drawn < 4:
            # Probably stuck at a wall: try one of four ways out.
            away = ((FULL, 60), (-60, FULL), (-FULL, -60), (60, -FULL))[drawn]
            return Move(*away)
        if not rest and drawn == 4 and abs(right) + abs(down) > 6 * HALF:
            return Dash()
        far = max(abs(right), abs(down), 1)
        return Move(
            (right * FULL + far // 2) // far,
            (down * FULL + far // 2) // far,
        )


def _place_all(s: ArenaState) -> ArenaState:
    """Put each player at a different start, without points, and place the gems."""
    starts, chance = s.chance.shuffled(STARTS)
    players = tuple(
        player and Player(x, y)
        for (x, y), player in zip(starts, s.players, strict=False)
    )
    gems: list[Point] = []
    for _ in s.gems:
        gem, chance = _new_gem(s.walls, players, gems, chance)
        gems.append(gem)
    return s.with_(
        players=players,
        gems=tuple(gems),
        chance=chance,
        ends=s.tick + s.length,
    )


def _heed(player: Player | None, action: Action) -> Player | None:
    if player is None:
        return None
    if isinstance(action, Move):
        return player.with_(to_x=action.x, to_y=action.y)
    if isinstance(action, Dash) and not player.rest:
        return player.with_(dash=DASH_TICKS, rest=REST_TICKS)
    return player


def _move(walls: tuple[Wall, ...], player: Player) -> Player:
    speed = DASH_SPEED if player.dash else SPEED
    movement = velocity(player.to_x, player.to_y, speed)
    x, y = slide(walls, player.x, player.y, *movement)
    return player.with_(
        x=x,
        y=y,
        vx=x - player.x,
        vy=y - player.y,
        dash=max(player.dash - 1, 0),
        rest=max(player.rest - 1, 0),
        safe=max(player.safe - 1, 0),
    )


def _hit(players: list[Player | None], order: list[int]) -> list[Event]:
    """Let players who dash take a point from each player they touch."""
    events = []
    for seat in order:
        for other in order:
            one, hit = players[seat], players[other]
            if not (one and hit and one.dash) or hit.safe or seat == other:
                continue
            if abs(one.x - hit.x) >= 2 * HALF or abs(one.y - hit.y) >= 2 * HALF:
                continue
            stolen = min(1, hit.points)
            players[seat] = one.with_(points=one.points + stolen)
            players[other] = hit.with_(
                points=hit.points - stolen, dash=0, safe=SAFE_TICKS
            )
            facts = {"seat": other, "by": seat, "points": stolen}
            events.append(Event("hit", facts))
    return events


def _take_gems(
    walls: tuple[Wall, ...],
    players: list[Player | None],
    seat: int,
    gems: list[Point],
    chance: Chance,
) -> tuple[list[Event], Chance]:
    events = []
    for index, (x, y) in enumerate(gems):
        player = players[seat]
        if player and abs(player.x - x) < REACH and abs(player.y - y) < REACH:
            players[seat] = player.with_(points=player.points + 1)
            gems[index], chance = _new_gem(walls, players, gems, chance)
            events.append(Event("took", {"seat": seat, "at": (x, y)}))
    return events, chance


def _new_gem(
    walls: tuple[Wall, ...],
    players: Iterable[Player | None],
    gems: list[Point],
    chance: Chance,
) -> tuple[Point, Chance]:
    """Draw a place for a gem, away from players and other gems."""
    points = free_points(walls)
    point = points[0]
    # The first is usually free: there are far more points than players and gems.
    for _ in range(20):
        drawn, chance = chance.below(len(points))
        point = points[drawn]
        is_near = any(
            abs(one.x - point[0]) < 3 * HALF and abs(one.y - point[1]) < 3 * HALF
            for one in players
            if one
        )
        if not is_near and point not in gems:
            break
    return point, chance


def _scores(s: ArenaState) -> tuple[int, ...]:
    return tuple(one.points if one else 0 for one in s.players)


def _finish(s: ArenaState) -> Step[ArenaState]:
    scores = _scores(s)
    s = s.with_(phase="over", winners=ranked(scores, _here(s))[0])
    return Step(s, (Event("ended", {"winners": s.winners, "scores": scores}),))


def _ask_rematch(
    s: ArenaState, inputs: tuple[tuple[int, Action], ...], n: int
) -> ArenaState | Step[ArenaState]:
    asked = {seat for seat, action in inputs if isinstance(action, Rematch)}
    new, here = sorted(asked - set(s.rematch)), _here(s)
    if not new or len(here) < 2:
        return s
    s = s.with_(rematch=tuple(sorted((*s.rematch, *new))))
    if is_agreed(s.rematch, here):
        return _again(s, n)
    return Step(s, tuple(Event("asked", {"seat": seat}) for seat in new))


def _here(s: ArenaState) -> tuple[int, ...]:
    return tuple(seat for seat, one in enumerate(s.players) if one)


def _again(s: ArenaState, n: int) -> Step[ArenaState]:
    """Begin another round."""
    s = s.with_(tick=n, round=s.round + 1, phase="playing", winners=(), rematch=())
    return Step(_place_all(s), (Event("began", {"round": s.round}),))
