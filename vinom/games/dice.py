"""
Dice: Farkle for two. Roll, set aside what scores, and stop before you lose it.

A turn starts with a roll of six dice. After each roll the player sets aside at least
one die that scores, then rolls the rest again or banks the points. After setting aside
all six the player has six fresh dice. A roll without a score loses the turn's points.
The first player with 3000 points wins.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, convert
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Outcome, Rejected, Step, Table
from vinom.games.rounds import (
    agree,
    ask_again,
    ensure_turn,
    is_agreed,
)
from vinom.turns import Rematch

#: Faces and their value; the first straight found counts.
_STRAIGHTS = (
    ((1, 2, 3, 4, 5, 6), 1500),
    ((1, 2, 3, 4, 5), 500),
    ((2, 3, 4, 5, 6), 750),
)
_THREE = {1: 1000, 2: 200, 3: 300, 4: 400, 5: 500, 6: 600}
_LONE = {1: 100, 5: 50}


def score(dice: Sequence[int]) -> int:
    """
    Count the value of some dice together.

    :param dice: faces, 1 to 6, in any order.
    :returns: points; 0 if any die does not score, or there are no dice.
    """
    counts = [dice.count(face) for face in range(7)]
    points = 0
    for faces, worth in _STRAIGHTS:
        if all(counts[face] for face in faces):
            points = worth
            for face in faces:
                counts[face] -= 1
            break
    for face in range(1, 7):
        count = counts[face]
        if count >= 3:
            # The value doubles with each die after the third.
            points += _THREE[face] << (count - 3)
        elif count and face not in _LONE:
            return 0
        elif count:
            points += _LONE[face] * count
    return points


def choices(dice: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """List which dice of a roll may be set aside: points, and their positions."""
    for count in range(1, len(dice) + 1):
        for positions in combinations(range(len(dice)), count):
            points = score([dice[position] for position in positions])
            if points:
                yield points, positions


def is_bust(dice: Sequence[int]) -> bool:
    """Is this a roll without a score?"""
    # Every straight contains a one or a five, so this covers straights too.
    return not any(face in _LONE or dice.count(face) >= 3 for face in dice)


_DICE = 6
#: The bot banks once a turn has scored this much,
_ENOUGH = 300
#: or when fewer dice than this are left to roll.
_FEW = 3

Phase = Literal["rolling", "choosing", "over"]


class DiceOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The score to reach, and the time for each turn.

    :ivar target: a player with this many points wins.
    :ivar turn_seconds: time for each action.
    """

    target: Annotated[int, Meta(ge=500, le=20_000)] = 3000
    turn_seconds: Annotated[float, Meta(ge=3, le=600)] = 30.0


class Roll(Struct, frozen=True, forbid_unknown_fields=True, tag="roll"):
    """Roll the dice that are not set aside."""


class SetAside(Struct, frozen=True, forbid_unknown_fields=True, tag="set_aside"):
    """
    Set aside dice of the roll; each of them must score.

    :ivar dice: their positions in the view's ``dice``, from 0.
    :ivar end_turn: bank at once.
    """

    dice: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=5)], ...], Meta(min_length=1, max_length=6)
    ]
    end_turn: bool = False


class EndTurn(Struct, frozen=True, forbid_unknown_fields=True, tag="end_turn"):
    """Bank the points of this turn."""


class DiceView(Struct, frozen=True):
    """
    What players and spectators see.

    :ivar phase: "rolling": roll, or bank if there are points; "choosing": set
        aside dice of the roll; "over".
    :ivar turn: the seat whose turn it is.
    :ivar dice: faces of the roll to choose from; otherwise empty.
    :ivar aside: faces set aside since six dice were last rolled.
    :ivar points: of this turn, not yet banked.
    :ivar due: match time at which the turn ends by itself, seconds.
    :ivar rematch: seats that ask for another round.
    """

    round: int
    phase: Phase
    turn: int
    due: float
    scores: tuple[int, ...]
    dice: tuple[int, ...]
    aside: tuple[int, ...]
    points: int
    winner: int | None
    rematch: tuple[int, ...]


class DiceState(Struct, frozen=True):
    """
    A moment of a game; most fields are also in the view and described there.

    :ivar gone: seats that were given up.
    """

    options: DiceOptions
    chance: Chance
    turn: int
    due: float
    scores: tuple[int, ...]
    round: int = 1
    phase: Phase = "rolling"
    dice: tuple[int, ...] = ()
    aside: tuple[int, ...] = ()
    points: int = 0
    winner: int | None = None
    rematch: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()


Action = Roll | SetAside | EndTurn | Rematch


class Dice(Game[DiceState, Action]):
    """The rules."""

    name = "dice"
    title = "Dice"
    about = "Roll, keep what scores, and stop before your luck runs out."
    rules = """
    Roll six dice, and set aside at least one that scores. Then roll the rest again,
    or bank the points of this turn. A roll in which nothing scores loses them. If all
    six dice score, you may roll all six again.

    A 1 scores 100 and a 5 scores 50. Three of a kind score 100 times the face, and
    three 1s score 1000; each further die of the same face doubles that. 1 to 5 in one
    roll score 500, 2 to 6 score 750, and 1 to 6 score 1500.

    The first player to reach the target wins.
    """
    icon = "/boards/dice.svg"
    board = "/boards/dice.js"
    actions = Action
    options = DiceOptions
    seats = (2, 2)
    linger = 120.0
    time_limit = 2 * 3600.0

    def start(self, table: Table) -> Step[DiceState]:
        """Draw who begins."""
        return _begin(table.options, table.chance, 1, 0.0)

    def act(
        self, s: DiceState, seat: int, action: Action, now: float
    ) -> DiceState | Step[DiceState]:
        """Roll, set aside, bank, or ask for another round."""
        if isinstance(action, Rematch):
            return _ask_rematch(s, seat, now)
        ensure_turn(seat, None if s.phase == "over" else s.turn)
        if isinstance(action, SetAside):
            return _set_aside(s, action, now)
        if s.phase == "choosing":
            raise Rejected("must_set_aside", "set aside a die that scores first")
        if isinstance(action, Roll):
            return _roll(s, now)
        if not s.points:
            raise Rejected(
                "nothing_to_bank", "this turn has no points to bank; roll first"
            )
        return _bank(s, now)

    def deadline(self, s: DiceState) -> float | None:
        """End a turn when its time is up."""
        return None if s.phase == "over" else s.due

    def advance(self, s: DiceState, now: float) -> Step[DiceState]:
        """End the turn of a player who is too slow; points set aside are banked."""
        slow = Event("timed_out", {"seat": s.turn})
        if not s.points:
            return Step(_pass_turn(s, now), (slow,))
        step = _bank(s, now)
        return Step(step.state, (slow, *step.events))

    def left(self, s: DiceState, seat: int, now: float) -> DiceState | Step[DiceState]:
        """A player who leaves loses the game."""
        s = replace(s, gone=(*s.gone, seat))
        if s.phase == "over":
            return s
        return Step(*_win(s, 1 - seat, "left"))

    def setup(self, s: DiceState) -> DiceOptions:
        """Show the options."""
        return s.options

    def view(self, s: DiceState, audience: Hashable) -> DiceView:
        """Show everything except the chance."""
        return convert(s, DiceView, from_attributes=True)

    def outcome(self, s: DiceState) -> Outcome | None:
        """The winner first, then the other player."""
        if s.winner is None:
            return None
        return Outcome(s.round, ((s.winner,), (1 - s.winner,)), s.scores)

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> Action | None:
        """Take the most points of each roll; bank 300, or when few dice are left."""
        if view["phase"] == "over":
            return agree(view["rematch"], seat)
        if view["turn"] != seat:
            return None
        if view["phase"] == "rolling":
            return Roll()
        # For equal points choose fewer dice, and roll the others again.
        worth, dice = max(
            choices(view["dice"]), key=lambda choice: (choice[0], -len(choice[1]))
        )
        points = view["points"] + worth
        left = len(view["dice"]) - len(dice)
        wins = view["scores"][seat] + points >= setup["target"]
        stops = points >= _ENOUGH or 0 < left < _FEW
        return SetAside(dice, wins or stops)


def _roll(s: DiceState, now: float) -> Step[DiceState]:
    chance, faces = s.chance, []
    for _ in range(_DICE - len(s.aside)):
        face, chance = chance.below(6)
        faces.append(face + 1)
    s = replace(s, chance=chance)
    rolled = Event("rolled", {"seat": s.turn, "dice": faces})
    if is_bust(faces):
        busted = Event("busted", {"seat": s.turn, "lost": s.points})
        return Step(_pass_turn(s, now), (rolled, busted))
    dice = tuple(faces)
    return Step(
        replace(s, phase="choosing", dice=dice, due=now + s.options.turn_seconds),
        (rolled,),
    )


def _set_aside(s: DiceState, action: SetAside, now: float) -> Step[DiceState]:
    if s.phase != "choosing":
        raise Rejected("must_roll", "roll first; there are no dice to set aside")
    chosen = action.dice
    if len(set(chosen)) < len(chosen) or max(chosen) >= len(s.dice):
        raise Rejected(
            "no_such_dice",
            f"dice must be different positions from 0 to {len(s.dice) - 1}",
        )
    faces = tuple(s.dice[position] for position in chosen)
    worth = score(faces)
    if not worth:
        raise Rejected("does_not_score", "each die that you set aside must score")
    points = s.points + worth
    facts = {"seat": s.turn, "dice": faces, "worth": worth, "points": points}
    events = [Event("set_aside", facts)]
    aside = (*s.aside, *faces)
    if len(aside) == _DICE:
        aside = ()
        events.append(Event("fresh_dice", {"seat": s.turn}))
    s = replace(
        s,
        phase="rolling",
        dice=(),
        aside=aside,
        points=points,
        due=now + s.options.turn_seconds,
    )
    if not action.end_turn:
        return Step(s, tuple(events))
    step = _bank(s, now)
    return Step(step.state, (*events, *step.events))


def _bank(s: DiceState, now: float) -> Step[DiceState]:
    own = s.scores[s.turn] + s.points
    scores = (own, s.scores[1]) if s.turn == 0 else (s.scores[0], own)
    banked = Event("banked", {"seat": s.turn, "points": s.points, "score": own})
    s = replace(s, scores=scores)
    if own < s.options.target:
        return Step(_pass_turn(s, now), (banked,))
    s, events = _win(s, s.turn, "points")
    return Step(s, (banked, *events))


def _pass_turn(s: DiceState, now: float) -> DiceState:
    return replace(
        s,
        phase="rolling",
        turn=1 - s.turn,
        due=now + s.options.turn_seconds,
        dice=(),
        aside=(),
        points=0,
    )


def _begin(
    options: DiceOptions, chance: Chance, number: int, now: float
) -> Step[DiceState]:
    first, chance = chance.below(2)
    due = now + options.turn_seconds
    s = DiceState(options, chance, first, due, (0, 0), number)
    return Step(s, (Event("began", {"round": number, "starter": first}),))


def _win(s: DiceState, winner: int, how: str) -> tuple[DiceState, tuple[Event, ...]]:
    s = replace(s, phase="over", winner=winner, dice=(), aside=(), points=0)
    facts = {"winner": winner, "how": how, "scores": s.scores}
    return s, (Event("ended", facts),)


def _ask_rematch(s: DiceState, seat: int, now: float) -> DiceState | Step[DiceState]:
    here = {0, 1} - set(s.gone)
    asked = ask_again(seat, s.rematch, here, s.phase == "over")
    if asked == s.rematch:
        return s
    if not is_agreed(asked, here):
        return Step(replace(s, rematch=asked), (Event("asked", {"seat": seat}),))
    return _begin(s.options, s.chance, s.round + 1, now)
