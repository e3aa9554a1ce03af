"""
Dice: roll, keep what scores, and stop before your luck runs out.

Roll six dice, and set aside at least one that scores. Then roll the rest again,
or bank the points of this turn. A roll in which nothing scores loses them. If all
six dice score, you may roll all six again.

A 1 scores 100 and a 5 scores 50. Three of a kind score 100 times the face, and
three 1s score 1000; each further die of the same face doubles that. 1 to 5 in one
roll score 500, 2 to 6 score 750, and 1 to 6 score 1500.

The first player to reach the target wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Annotated, Any

from msgspec import Meta, Struct

from vinom.game import Chance, Event, Rejected, Step, put
from vinom.turns import TurnGame, TurnState

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


class DiceState(TurnState, frozen=True):
    """
    A round.

    :ivar scores: points that are banked, by seat.
    :ivar dice: faces of the roll to choose from; otherwise empty.
    :ivar aside: faces set aside since six dice were last rolled.
    :ivar points: of this turn, not yet banked.
    """

    options: DiceOptions = DiceOptions()
    scores: tuple[int, ...] = (0, 0)
    dice: tuple[int, ...] = ()
    aside: tuple[int, ...] = ()
    points: int = 0


class Dice(TurnGame[DiceState, Roll | SetAside | EndTurn]):
    """The rules."""

    name = "dice"
    icon = "/boards/dice.svg"
    board = "/boards/dice.js"
    options = DiceOptions
    schema = 2
    per_turn = ("dice", "aside", "points")
    time_limit = 2 * 3600.0

    def play(
        self, s: DiceState, seat: int, action: Roll | SetAside | EndTurn, now: float
    ) -> Step[DiceState]:
        """Roll, set aside, or bank."""
        if isinstance(action, SetAside):
            return self._set_aside(s, seat, action, now)
        if s.dice:
            raise Rejected("must_set_aside", "set aside a die that scores first")
        if isinstance(action, Roll):
            return self._roll(s, seat, now)
        if not s.points:
            raise Rejected(
                "nothing_to_bank", "this turn has no points to bank; roll first"
            )
        return self._bank(s, seat, now)

    def timed_out(
        self, s: DiceState, seat: int, now: float
    ) -> DiceState | Step[DiceState]:
        """Points that are set aside are banked; the roll on the table is not."""
        return self._bank(s, seat, now) if s.points else self.next_turn(s, now)

    def choose(
        self, view: Any, seat: int, chance: Chance, setup: Any
    ) -> Roll | SetAside:
        """Take the most points of each roll; bank 300, or when few dice are left."""
        if not view["dice"]:
            return Roll()
        # For equal points choose fewer dice, and roll the others again.
        worth, dice = max(
            choices(view["dice"]), key=lambda choice: (choice[0], -len(choice[1]))
        )
        points = view["points"] + worth
        left = len(view["dice"]) - len(dice)
        wins = view["scores"][seat] + points >= setup["target"]
        return SetAside(dice, wins or points >= _ENOUGH or 0 < left < _FEW)

    def _roll(self, s: DiceState, seat: int, now: float) -> Step[DiceState]:
        chance, faces = s.chance, []
        for _ in range(_DICE - len(s.aside)):
            face, chance = chance.below(6)
            faces.append(face + 1)
        rolled = Event("rolled", {"seat": seat, "dice": faces})
        s = s.with_(chance=chance)
        if is_bust(faces):
            busted = Event("busted", {"seat": seat, "lost": s.points})
            return Step(self.next_turn(s, now), (rolled, busted))
        return Step(self.again(s.with_(dice=tuple(faces)), now), (rolled,))

    def _set_aside(
        self, s: DiceState, seat: int, action: SetAside, now: float
    ) -> Step[DiceState]:
        if not s.dice:
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
        points, aside = s.points + worth, (*s.aside, *faces)
        facts = {"seat": seat, "dice": faces, "worth": worth, "points": points}
        events = [Event("set_aside", facts)]
        if len(aside) == _DICE:
            aside = ()
            events.append(Event("fresh_dice", {"seat": seat}))
        s = s.with_(dice=(), aside=aside, points=points)
        step = Step(self.again(s, now), tuple(events))
        return step.then(self._bank, seat, now) if action.end_turn else step

    def _bank(self, s: DiceState, seat: int, now: float) -> Step[DiceState]:
        own = s.scores[seat] + s.points
        banked = Event("banked", {"seat": seat, "points": s.points, "score": own})
        step = Step(s.with_(scores=put(s.scores, seat, own)), (banked,))
        if own < s.options.target:
            return step.then(self.next_turn, now)
        return step.then(self.win, seat, "points")
