"""What the check reports to a game's author."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.support import broken_games as broken
from tests.support import games
from tests.support.glimpse import Glimpse
from vinom.game import Chance, Game, Grid, Outcome
from vinom.games.maze import Dance, Maze, Move
from vinom.games.roomecho import RoomEcho
from vinom.tools.check.random_actions import RandomActions
from vinom.tools.check.trial import Finding, first_disagreement, try_game


def rules_broken(game: Game[Any, Any], seats: int = 3) -> dict[str, str]:
    """Try a game; what was found, by rule."""
    trial = try_game(game, "game", seats, 11)
    return {finding.rule: finding.message for finding in trial.findings}


class Shared(games.Peeking):
    """Says that its cards are seen by several."""

    shared = ("cards",)


class Failing(games.Cards):
    """Fails when its first card is shown."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        raise KeyError("ace")


class Marching(games.Cards):
    """Shows a card at each step, after any action."""

    tick_hz = 5

    def tick(self, s: Any, inputs: Any, n: int) -> Any:
        seat = n % len(s.cards)
        return s if s.shown[seat] else self.act(s, seat, games.Show(), n / 5)


class Road(Struct, frozen=True):
    """How far somebody walked."""

    way: tuple[Annotated[float, Grid(0.5, 0, 10)], ...]


class Walk(Game[Road, games.Show]):
    """Walks on; half a step beyond the end is no mistake."""

    name = "walk"
    actions = games.Show
    shows = Road
    last = 10.25

    def start(self, table: Any) -> Road:
        return Road((0.0,) * len(table.seats))

    def act(self, s: Road, seat: int, action: games.Show, now: float) -> Road:
        return Road(tuple(min(one + 4, self.last) for one in s.way))

    def outcome(self, s: Road) -> Outcome | None:
        return Outcome(1, ((0, 1),)) if s.way[0] >= self.last else None


class LongWalk(Walk):
    """Leaves its road."""

    last = 10.3


class Babbling(games.Cards):
    """Its bot's answers aren't actions."""

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> Any:
        return "show"


class CheckTests(SynchronousTestCase):
    def test_what_players_were_shown(self) -> None:
        """
        A game that looks at what its players were shown gets that here, too.
        """
        self.assertEqual(rules_broken(Glimpse(), 2), {})

    def test_our_games_pass(self) -> None:
        """
        The games that come with vinom are what games must be.
        """
        for game, seats in ((Maze(), 4), (RoomEcho(), 2), (games.Cards(), 3)):
            self.assertEqual(rules_broken(game, seats), {})

    def test_ticking_games_can_be_checked(self) -> None:
        """
        A game with ticks is played by its ticks.
        """
        self.assertEqual(rules_broken(Marching(), 2), {})

    def test_each_mistake_is_reported(self) -> None:
        """
        Each kind of mistake is found, and the message names the place.
        """
        for game, rule, message in (
            (games.Peeking(), "leak", r"cards\[\d\] is not public, yet view\(\) shows"),
            (games.Foretelling(), "leak", "chance.key is chance"),
            (games.Endless(), "ends", "no outcome after"),
            (games.Remembering(), "pure", r"act\(\) returns another result"),
            (games.Changeable(), "state", "ListState.items is a list"),
            (games.Smuggling(), "state", r"state\.items holds \[1, 2\] \(list\)"),
            (Failing(), "fault", "KeyError"),
            (Babbling(), "fault", "ValidationError: Expected `object`"),
        ):
            broken = rules_broken(game)
            self.assertEqual(list(broken), [rule], type(game).__name__)
            self.assertRegex(broken[rule], message)

    def test_numbers_leave_their_grid(self) -> None:
        """
        A number that players are not shown as it is, because its range ends before, is
        reported once, with its field; one that is only rounded is not.
        """
        self.assertEqual(rules_broken(Walk(), 2), {})
        findings = try_game(LongWalk(), "walk", 2, 3).findings
        (message,) = [one.message for one in findings]
        self.assertIn("$.way[...] leaves Grid(step=0.5, least=0, most=10)", message)

    def test_shared_on_purpose(self) -> None:
        """
        A field that the author lists as shared isn't a leak.
        """
        self.assertEqual(rules_broken(Shared()), {})

    def test_a_trial_repeats(self) -> None:
        """
        One seed is one trial; a difference between two is named.
        """
        one = try_game(games.Cards(), "cards", 3, 5).trace
        self.assertEqual(one, try_game(games.Cards(), "cards", 3, 5).trace)
        self.assertIsNone(first_disagreement(one, list(one)))
        other = [*one[:2], "something else", *one[3:]]
        found = first_disagreement(one, other)
        assert found is not None
        self.assertEqual(found.rule, "hash_seed")
        self.assertTrue(found.message.startswith("step 2: "))
        self.assertIsInstance(first_disagreement(one, one[:-1]), Finding)


class Club(games.Cards):
    """Fails for a bot, which has no id, and finds no two players with one id."""

    def start(self, table: Any) -> Any:
        ids = [seat.player_id for seat in table.seats]
        if "" in ids:
            raise LookupError("a player without an id")
        assert len(set(ids)) == len(ids)
        return super().start(table)

    def bot(self, view: Any, seat: int, chance: Any, setup: Any) -> Any:
        return None


class WhoPlaysTests(SynchronousTestCase):
    def test_ids(self) -> None:
        """
        Players of a trial have ids; with drawn options some are bots, which have none,
        so a game that cannot do without is found.
        """
        for seed in range(4):
            trial = try_game(Club(), "club", 3, seed)
            self.assertNotIn("without an id", str(trial.findings))
        found = [
            str(try_game(Club(), "club", 3, seed, is_drawn=True).findings)
            for seed in range(6)
        ]
        self.assertTrue(any("without an id" in one for one in found))


class BreakingTests(SynchronousTestCase):
    """What breaks games in practice: each is found by the first seeds."""

    def assert_found(
        self, game: Game[Any, Any], rule: str, message: str, is_drawn: bool = False
    ) -> None:
        """Each of the first seeds finds this, and nothing else."""
        for seed in range(3):
            trial = try_game(game, "game", game.seats[0], seed, is_drawn=is_drawn)
            rules = {finding.rule for finding in trial.findings}
            name = f"{type(game).__name__}, seed {seed}"
            self.assertEqual(rules, {rule}, f"{name}: {trial.findings}")
            self.assertRegex(trial.findings[0].message, message, name)

    def assert_good(self, game: Game[Any, Any]) -> None:
        for seats in game.seats:
            for seed in range(3):
                trial = try_game(game, "game", seats, seed, is_drawn=seed == 1)
                self.assertEqual(trial.findings, [], type(game).__name__)

    def test_play_waits_for_a_leaver(self) -> None:
        """
        A game that gives turns to a player who left is found; one that ends, or skips
        that player, is not.
        """
        again = r"after seat \d left, play waits for it again and again"
        self.assert_found(broken.Turns(), "left", again)
        forever = r"after seat \d left, play waits for it forever"
        self.assert_found(broken.Untimed(), "left", forever)
        self.assert_good(broken.Ending())
        self.assert_good(broken.Drawing())

    def test_failures_off_the_beaten_track(self) -> None:
        """
        A failure is found although it takes a player who leaves during the own turn, a
        player who returns, a newcomer, or options that nobody chooses by default.
        """
        for game, message in (
            (broken.Fragile(), "LookupError: 'whose turn|LookupError: whose turn"),
            (broken.Dizzy(), "LookupError: who are you"),
            (broken.Closed(), r"LookupError: no seat 2"),
        ):
            self.assert_found(game, "fault", message)
        trials = (
            try_game(broken.Dividing(), "game", 2, seed, is_drawn=True)
            for seed in range(60)
        )
        zero = next(one for one in trials if one.options == '{"moves":0}')
        self.assertIn("ZeroDivisionError", zero.findings[0].message)

    def test_two_deadlines_at_once(self) -> None:
        """
        A game that handles one of two deadlines that are due at once is found.
        """
        self.assert_found(
            broken.TwoClocks(), "fault", r"deadline\(\) is still .* in one advance"
        )

    def test_a_tick_that_rejects(self) -> None:
        """
        A game that rejects in a tick learns what the server does then.
        """
        self.assert_found(
            broken.RejectingTick(), "tick", r"tick\(\) rejects an input \(early\)"
        )

    def test_leaks_beside_the_view(self) -> None:
        """
        A deck in the setup, a card in an event, and a hand in the outcome are found.
        """
        for game, message in (
            (broken.DeckInSetup(), r"pile\[\d+\] is not public, yet setup\(\)"),
            (broken.Shouting(), r"hidden from .*, yet event 'drew' depends on it"),
            (broken.Scoring(), r"hands\[\d\]\[\d\] is not public, yet outcome\(\)"),
        ):
            trial = try_game(game, "game", 2, 1)
            leaks = [one.message for one in trial.findings if one.rule == "leak"]
            self.assertTrue(leaks, type(game).__name__)
            self.assertRegex(leaks[0], message)
        self.assert_found(broken.Changing(), "setup", r"setup\(\) changes")

    def test_states_that_cannot_be_stored(self) -> None:
        """
        A state whose bytes would not give it back names the field.
        """
        self.assert_found(
            broken.Mistyped(),
            "state",
            r"^state\.label is not what it is declared .*Expected `int`, got `str`$",
        )
        self.assert_found(broken.Identical(), "pure", "after it was stored and read")


class LimitTests(SynchronousTestCase):
    def test_a_time_limit(self) -> None:
        """
        A game that its time limit ends before an outcome is found.
        """
        trial = try_game(broken.Waiting(), "game", 2, 1)
        (finding,) = trial.findings
        self.assertEqual(finding.rule, "ends")
        self.assertRegex(
            finding.message, r"^no outcome after \d+ random steps and 6\d\d s; add"
        )
        # Players may choose such options; that is worth a note.
        trial = try_game(broken.Waiting(), "game", 2, 1, is_drawn=True)
        self.assertEqual(trial.findings, [])
        self.assertIn("its time limit of 600 s ends it", trial.notes[0])


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Everything(Struct, frozen=True, tag="everything", forbid_unknown_fields=True):
    """One field of each kind."""

    number: int
    bounded: Annotated[int, Meta(ge=3, le=5)]
    real: Annotated[float, Meta(gt=0, lt=2)]
    text: Annotated[str, Meta(max_length=3)]
    way: Literal["up", 3]
    colour: Colour
    flag: bool
    pair: tuple[int, str]
    many: tuple[int, ...]
    some: Annotated[list[bool], Meta(min_length=1, max_length=2)]
    table: dict[str, int]
    maybe: Colour | None
    raw: bytes
    anything: Any
    renamed: int = msgspec.field(name="from", default=4)


class RandomActionsTests(SynchronousTestCase):
    @given(st.integers(0, (1 << 64) - 1))
    @settings(max_examples=100, deadline=None)
    def test_made_actions_are_actions(self, seed: int) -> None:
        """
        What is made is always a valid action.
        """
        supply = RandomActions(Everything | games.Quiet, Chance(seed))
        made = [supply.make({"at": [[1, 2]], "name": "ann"}) for _ in range(30)]
        valid = [action for action in made if action is not None]
        self.assertTrue(valid)
        for action in valid:
            encoded = msgspec.msgpack.encode(action)
            self.assertEqual(
                msgspec.msgpack.decode(encoded, type=Everything | games.Quiet), action
            )

    def test_all_kinds_come_up(self) -> None:
        """
        Every action of a union is tried, with values the view suggests.
        """
        supply = RandomActions(Move | Dance, Chance(1))
        made = [supply.make({"at": [[7, 3]]}) for _ in range(300)]
        self.assertIn(Dance(), made)
        self.assertIn((7, 3), [one.from_ for one in made if isinstance(one, Move)])
