"""Games in turns: what `TurnGame` does for an author, and what players notice of it."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Refused, Rejected
from vinom.game import Chance, Event, Seat, Step, put
from vinom.testing import Match, play
from vinom.turns import OVER, Rematch, TurnGame, TurnState


class Say(Struct, frozen=True, forbid_unknown_fields=True, tag="say"):
    """
    Do what one word says.

    :ivar word: "pass", "again", "idle", "win", "draw", or "fight", which begins the
        phase of that name.
    """

    word: str = "pass"


class Hit(Struct, frozen=True, forbid_unknown_fields=True, tag="hit"):
    """Put a seat out."""

    seat: int


class Pick(Struct, frozen=True, forbid_unknown_fields=True, tag="pick"):
    """Choose a number, in a phase in which all do."""

    number: int


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Options."""

    turn_seconds: float | None = 10.0


class BrawlState(TurnState, frozen=True):
    """A round."""

    options: Limits = Limits()
    picks: tuple[int | None, ...] = (None,) * 6
    said: int = 0
    streak: int = 0


class Brawl(TurnGame[BrawlState, Say | Hit]):
    """Players say words, and put one another out."""

    seats = (2, 6)
    options = Limits
    per_turn = ("streak",)

    def play(
        self, s: BrawlState, seat: int, action: Say | Hit | Pick, now: float
    ) -> BrawlState | Step[BrawlState]:
        """Do what the action says."""
        if isinstance(action, Pick):
            return self.done(
                s.with_(picks=put(s.picks, seat, action.number)), seat, now
            )
        if isinstance(action, Hit):
            if action.seat not in self.playing(s):
                raise Rejected("nobody", "nobody is there")
            step = Step(s).then(self.put_out, action.seat, "hit", now)
            is_on = step.state.turn == seat
            return step.then(self.next_turn, now) if is_on else step
        s = s.with_(said=s.said + 1, streak=s.streak + 1)
        match action.word:
            case "again":
                return self.again(s, now)
            case "idle":
                return s
            case "win":
                return self.win(s, seat, "word")
            case "draw":
                return self.draw(s)
            case "fight":
                return self.enter(s, "fight", now)
        return self.next_turn(s, now)

    def choose(self, view: Any, seat: int, chance: Chance, setup: Any) -> Any:
        """Pass on, or pick 7."""
        return Pick(7) if seat in view["waiting"] else Say()


class Phased(Brawl):
    """All pick, then they fight in turns."""

    phases: ClassVar[Any] = {"pick": Pick, "fight": Say | Hit}
    together = ("pick",)


class Teams(Brawl):
    """Teams of two."""

    teams = 2
    seats = (4, 4)


def variant(base: type[Brawl] = Brawl, **facts: Any) -> type[Brawl]:
    """Make a game that differs in some of its class's fields."""
    return type("Varied", (base,), facts)


def kinds(match: Match) -> list[str]:
    return [event.kind for event in match.events]


def last(match: Match, kind: str) -> Any:
    return next(one.data for one in reversed(match.events) if one.kind == kind)


class OrderTests(SynchronousTestCase):
    """Whose turn it is."""

    def test_around(self) -> None:
        """
        The turn goes around the table from the starter on, past those who are out, and
        everybody is told who began.
        """
        match = play(Brawl, seats=4)
        first = match.state.turn
        self.assertEqual(match.events, [Event("began", {"round": 1, "starter": first})])
        seen = []
        for _ in range(5):
            seen.append(match.state.turn)
            match.act(match.state.turn, Say())
        self.assertEqual(seen, [(first + step) % 4 for step in range(5)])
        away = (match.state.turn + 1) % 4
        match.act(match.state.turn, Hit(away))
        self.assertEqual(match.state.turn, (away + 1) % 4)
        self.assertEqual(last(match, "out"), {"seat": away, "how": "hit"})

    def test_not_your_turn(self) -> None:
        """
        A player whose turn it is not is refused, with a reason that fits.
        """
        match = play(Brawl, seats=3)
        turn = match.state.turn
        for seat in {0, 1, 2} - {turn}:
            self.assertEqual(match.rejected(seat, Say()), "not_your_turn")
        out = (turn + 1) % 3
        match.act(turn, Hit(out))
        self.assertEqual(match.rejected(out, Say()), "out")
        match.act(match.state.turn, Say("win"))
        for seat in range(3):
            self.assertEqual(match.rejected(seat, Say()), "round_over")

    def test_teams(self) -> None:
        """
        Teams take turns however they sit; a win is the whole team's.
        """
        match = play(Teams, [Seat(f"p{n}", team=n // 2) for n in range(4)])
        self.assertEqual(match.state.order, (0, 2, 1, 3))
        turns = []
        for _ in range(4):
            turns.append(match.state.turn)
            match.act(match.state.turn, Say())
        self.assertEqual(
            [seat // 2 for seat in turns] in ([0, 1] * 2, [1, 0] * 2), True
        )
        match.act(match.state.turn, Say("win"))
        winners = turns[0] // 2
        self.assertEqual(match.state.places[0], (2 * winners, 2 * winners + 1))
        self.assertEqual(sum(match.outcome.scores), 2)
        self.assertIsNone(match.state.winner)

    def test_a_team_is_out(self) -> None:
        """
        A team goes on while one of it is in the round, and has one place.
        """
        match = play(
            variant(Teams, teams=3, seats=(6, 6)),
            [Seat(f"p{n}", team=n % 3) for n in range(6)],
        )
        for target in (0, 1, 3):
            if match.state.turn == target:
                match.act(target, Say())
            match.act(match.state.turn, Hit(target))
            self.assertIsNone(match.outcome)
        target = 4 if match.state.turn != 4 else None
        if target is None:
            match.act(4, Say())
        match.act(match.state.turn, Hit(4))
        self.assertEqual(match.outcome.places, ((2, 5), (1, 4), (0, 3)))

    def test_per_turn(self) -> None:
        """
        What belongs to a turn is forgotten when it passes on, and stays on the same
        player's next action.
        """
        match = play(Brawl)
        for expected in (1, 2, 3):
            match.act(match.state.turn, Say("again"))
            self.assertEqual(match.state.streak, expected)
        match.act(match.state.turn, Say())
        self.assertEqual((match.state.streak, match.state.said), (0, 4))

    def test_an_order_of_ones_own(self) -> None:
        """
        A game turns the order around by one field of the state.
        """

        class Reversed(Brawl):
            def begin(self, s: BrawlState, now: float) -> BrawlState:
                return s.with_(order=s.order[::-1])

        match = play(Reversed, seats=3)
        first = match.state.turn
        match.act(first, Say())
        self.assertEqual(match.state.turn, (first - 1) % 3)

    def test_who_begins(self) -> None:
        """
        A game says who plays a round, in which order, and who begins, such as the one
        with the lowest card.
        """

        class Lowest(Brawl):
            def lineup(self, s: BrawlState) -> tuple[int, ...]:
                return (3, 1, 2)

            def begin(self, s: BrawlState, now: float) -> BrawlState:
                return self.next_turn(s, now, 1)

        match = play(Lowest, seats=4)
        self.assertEqual((match.state.turn, match.view().due), (1, 10.0))
        self.assertEqual(match.rejected(0, Say()), "watching")
        match.act(1, Say())
        match.act(2, Say())
        match.act(3, Say("draw"))
        self.assertEqual(match.outcome.places, ((1, 2, 3),))

    def test_over_at_once(self) -> None:
        """
        A round can be over as it begins.
        """

        class Short(Brawl):
            def begin(self, s: BrawlState, now: float) -> Step[BrawlState]:
                return self.win(s, 1, "dealt")

        match = play(Short)
        self.assertEqual(kinds(match), ["began", "ended"])
        self.assertEqual((match.state.turn, match.outcome.places), (None, ((1,), (0,))))


class PhaseTests(SynchronousTestCase):
    """Rounds that go through phases."""

    def test_all_act_then_in_turns(self) -> None:
        """
        In one phase all act, in any order and once each; then the next begins, in
        turns.
        """
        match = play(Phased, seats=3)
        view = match.view()
        self.assertEqual((view.phase, view.turn), ("pick", None))
        self.assertEqual(view.waiting, (0, 1, 2))
        match.act(2, Pick(5))
        self.assertEqual(match.view().waiting, (0, 1))
        self.assertEqual(match.rejected(2, Pick(6)), "not_your_turn")
        self.assertEqual(match.rejected(1, Say()), "wrong_phase")
        match.act(0, Pick(4))
        match.act(1, Pick(3))
        view = match.view()
        self.assertEqual((view.phase, view.turn), ("fight", view.starter))
        self.assertEqual(view.picks[:3], (4, 3, 5))
        self.assertEqual(match.rejected(view.turn, Pick(1)), "wrong_phase")

    def test_actions_of_all_phases(self) -> None:
        """
        The actions of a game with phases are those of all of them, and a rematch.
        """
        match = play(Phased)
        for seat in (0, 1):
            match.act(seat, {"type": "pick", "number": 1})
        match.act(match.state.turn, {"type": "say", "word": "win"})
        match.act(0, {"type": "rematch"})
        with self.assertRaises(Refused):
            match.act(0, {"type": "dance"})

    def test_late_ones(self) -> None:
        """
        Who has not acted in time loses; those who have acted go on, or win.
        """
        match = play(Phased, seats=3)
        match.act(0, Pick(1))
        match.act(1, Pick(1))
        match.wait(10.0)
        self.assertEqual((match.state.phase, match.state.out), ("fight", (2,)))
        match = play(Phased, seats=3)
        match.act(1, Pick(1))
        match.wait(10.0)
        self.assertEqual((match.state.winner, match.state.how), (1, "timeout"))

    def test_all_are_late(self) -> None:
        """
        When nobody has acted in time nobody wins.
        """
        match = play(Phased, seats=3)
        match.wait(10.0)
        self.assertEqual(match.outcome.places, ((0, 1, 2),))
        self.assertEqual((match.state.winner, match.state.wins), (None, (0, 0, 0)))
        self.assertEqual(kinds(match).count("timed_out"), 3)

    def test_bots_for_late_ones(self) -> None:
        """
        With "skip" the phase goes on without those who are late; with "bot" the bot
        acts for them.
        """
        for how, picks in (("skip", (1, None)), ("bot", (1, 7))):
            match = play(variant(Phased, on_timeout=how))
            match.act(0, Pick(1))
            match.wait(10.0)
            self.assertEqual(match.state.phase, "fight")
            self.assertEqual(match.state.picks[:2], picks)

    def test_leavers(self) -> None:
        """
        A phase in which all act waits for nobody who has left: neither for a seat that
        is out, nor, for longer than a moment, for a bot.
        """
        for how in ("forfeit", "skip", "bot"):
            match = play(
                variant(Phased, on_leave=how), 3, options={"turn_seconds": None}
            )
            match.act(0, Pick(1))
            match.leave(1)
            match.act(2, Pick(1))
            match.wait(1.0)
            self.assertEqual(match.state.phase, "fight", how)
            self.assertEqual(match.state.picks[1], 7 if how == "bot" else None)

    def test_no_next_phase(self) -> None:
        """
        A game whose last phase is over without an end is told what it lacks.
        """
        match = play(variant(Phased, phases={"pick": Pick}))
        match.act(0, Pick(1))
        with self.assertRaisesRegex(NotImplementedError, "must define phase_over"):
            match.act(1, Pick(1))


class ClockTests(SynchronousTestCase):
    """The time to act."""

    def test_per_turn(self) -> None:
        """
        Each turn has its time, which the view names; it starts afresh with each turn.
        """
        match = play(Brawl, options={"turn_seconds": 20})
        self.assertEqual(match.view().due, 20.0)
        match.wait(5.0)
        match.act(match.state.turn, Say("idle"))
        self.assertEqual(match.view().due, 20.0)
        match.act(match.state.turn, Say("again"))
        self.assertEqual(match.view().due, 25.0)
        match.act(match.state.turn, Say())
        self.assertEqual(match.view().due, 25.0)
        match.act(match.state.turn, Say("win"))
        self.assertIsNone(match.view().due)

    def test_no_limit(self) -> None:
        """
        Without a limit a turn lasts as long as its player likes.
        """
        match = play(Brawl, options={"turn_seconds": None})
        turn = match.state.turn
        match.wait(3000.0)
        self.assertEqual((match.state.turn, match.view().due), (turn, None))

    def test_bank(self) -> None:
        """
        A turn that takes longer uses up the player's own bank; a quick one does not.
        """
        match = play(variant(bank_seconds=30.0))
        turn = match.state.turn
        self.assertEqual((match.view().due, match.view().bank), (40.0, (30.0, 30.0)))
        match.wait(9.0)
        match.act(turn, Say())
        self.assertEqual(match.view().bank[turn], 30.0)
        match.act(match.state.turn, Say())
        match.wait(25.0)
        match.act(turn, Say("again"))
        self.assertEqual(match.view().bank[turn], 15.0)
        self.assertEqual(match.view().due, 34.0 + 25.0)
        match.wait(25.0)
        self.assertEqual((match.state.how, match.state.winner), ("timeout", 1 - turn))

    def test_bank_until_the_phase_ends(self) -> None:
        """
        The last turn of a phase counts like any other.
        """
        game = variant(
            bank_seconds=30.0,
            phases={"talk": Say, "fight": Say | Hit},
            turn_seconds=10.0,
        )
        match = play(game)
        turn = match.state.turn
        match.wait(15.0)
        match.act(turn, Say("fight"))
        self.assertEqual((match.state.phase, match.view().bank[turn]), ("fight", 25.0))

    def test_forfeit(self) -> None:
        """
        A player whose time is up is out; the others go on, and the last one wins.
        """
        match = play(Brawl, seats=3)
        first = match.state.turn
        match.wait(10.0)
        self.assertEqual(match.state.turn, (first + 1) % 3)
        self.assertEqual(
            [(one.kind, one.data["seat"]) for one in match.events[-2:]],
            [("timed_out", first), ("out", first)],
        )
        match.wait(10.0)
        winner = (first + 2) % 3
        self.assertEqual(kinds(match)[-3:], ["timed_out", "out", "ended"])
        self.assertEqual(last(match, "ended"), {"winner": winner, "how": "timeout"})
        self.assertEqual(
            match.outcome.places, ((winner,), ((first + 1) % 3,), (first,))
        )

    def test_skip(self) -> None:
        """
        With "skip" the turn passes, and the player stays in the round.
        """
        match = play(variant(on_timeout="skip"))
        first = match.state.turn
        match.wait(10.0)
        self.assertEqual((match.state.turn, match.state.said), (1 - first, 0))
        match.wait(10.0)
        self.assertEqual(match.state.turn, first)

    def test_bot(self) -> None:
        """
        With "bot" the game's bot acts for the player.
        """
        match = play(variant(on_timeout="bot"))
        first = match.state.turn
        match.wait(10.0)
        self.assertEqual((match.state.turn, match.state.said), (1 - first, 1))

    def test_a_bot_that_knows_nothing(self) -> None:
        """
        A bot without an action, or with one that is refused, passes the turn.
        """
        for choice in (None, Hit(5)):
            game = variant(on_timeout="bot", choose=lambda *_, choice=choice: choice)
            match = play(game)
            first = match.state.turn
            match.wait(10.0)
            self.assertEqual(match.state.turn, 1 - first)

    def test_what_the_bot_sees(self) -> None:
        """
        A bot that acts for a player sees what it sees elsewhere: lists and dicts.
        """
        seen: list[Any] = []

        def choose(self: Any, view: Any, seat: int, chance: Chance, setup: Any) -> Any:
            seen.append((view["order"], setup))
            return Say()

        play(variant(on_timeout="bot", choose=choose)).wait(10.0)
        self.assertEqual(seen, [([0, 1], {"turn_seconds": 10.0})])

    def test_a_game_that_does_nothing(self) -> None:
        """
        A game whose own `timed_out` changes nothing gives the player the time again.
        """
        match = play(variant(timed_out=lambda self, s, seat, now: s))
        match.wait(10.0)
        self.assertEqual(match.view().due, 20.0)


class LeaverTests(SynchronousTestCase):
    """Players who leave for good."""

    def test_forfeit(self) -> None:
        """
        A leaver is out at once, also when it is not its turn; of two, the other wins.
        """
        match = play(Brawl, seats=3)
        turn = match.state.turn
        other = (turn + 1) % 3
        match.leave(other)
        self.assertEqual((match.state.turn, match.state.out), (turn, (other,)))
        match.leave(turn)
        self.assertEqual(
            (match.state.how, match.state.winner), ("left", (turn + 2) % 3)
        )

    def test_skip(self) -> None:
        """
        With "skip" a leaver has no more turns, and is not counted as out.
        """
        match = play(variant(on_leave="skip"), seats=3)
        turn = match.state.turn
        match.leave(turn)
        self.assertEqual((match.state.turn, match.state.out), ((turn + 1) % 3, ()))
        for _ in range(4):
            match.act(match.state.turn, Say())
            self.assertNotEqual(match.state.turn, turn)
        match.leave(match.state.turn)
        self.assertEqual(match.state.how, "left")

    def test_bot(self) -> None:
        """
        With "bot" the bot plays on after a moment, whatever happens to late players,
        and nobody reads that the leaver was too slow.
        """
        for on_timeout in ("forfeit", "skip", "bot"):
            match = play(variant(on_leave="bot", on_timeout=on_timeout))
            match.leave(match.state.turn)
            match.wait(1.0)
            self.assertEqual(match.state.said, 1)
            for _ in range(3):
                match.act(match.state.turn, Say())
                match.wait(1.0)
            self.assertEqual(match.state.said, 7)
            self.assertNotIn("timed_out", kinds(match))

    def test_earlier_leavers(self) -> None:
        """
        Who left before a round began is not in it, and has no place in its outcome.
        """
        match = play(Brawl, seats=3)
        match.leave(0)
        match.act(match.state.turn, Say("win"))
        self.assertEqual({*sum(match.outcome.places, ())}, {0, 1, 2})
        for seat in (1, 2):
            match.act(seat, Rematch())
        self.assertEqual(match.state.order, (1, 2))
        match.act(match.state.turn, Say("draw"))
        self.assertEqual(match.outcome.places, ((1, 2),))


class RoundTests(SynchronousTestCase):
    """Ends of rounds, and further ones."""

    def test_places(self) -> None:
        """
        Who is out last is ranked first of those who are out; those who are still in
        share the place behind the winner.
        """
        match = play(Brawl, seats=5)
        turn = match.state.turn
        gone = [(turn + 1) % 5, (turn + 2) % 5]
        for seat in gone:
            match.act(match.state.turn, Hit(seat))
            while match.state.turn != turn:
                match.act(match.state.turn, Say())
        match.act(turn, Say("win"))
        rest = tuple(sorted({0, 1, 2, 3, 4} - {turn, *gone}))
        self.assertEqual(match.outcome.places, ((turn,), rest, (gone[1],), (gone[0],)))
        self.assertEqual(match.outcome.scores, tuple(int(n == turn) for n in range(5)))
        self.assertEqual(match.state.wins, match.outcome.scores)

    def test_draw(self) -> None:
        """
        A draw has no winner; those who were out before are behind it.
        """
        match = play(Brawl, seats=3)
        out = (match.state.turn + 1) % 3
        match.act(match.state.turn, Hit(out))
        match.act(match.state.turn, Say("draw"))
        first = tuple(sorted({0, 1, 2} - {out}))
        self.assertEqual(match.outcome.places, (first, (out,)))
        self.assertEqual(last(match, "ended"), {"winner": None, "how": "draw"})

    def test_scores(self) -> None:
        """
        A state with scores of its own shows those in the outcome.
        """

        class Scored(TurnState, frozen=True):
            scores: tuple[int, ...] = (5, 3)

        class Scoring(TurnGame[Scored, Say]):
            def play(self, s: Scored, seat: int, action: Say, now: float) -> Any:
                return self.finish(s, ((0,), (1,)), "points")

        match = play(Scoring)
        match.act(match.state.turn, Say())
        self.assertEqual((match.outcome.scores, match.state.winner), ((5, 3), 0))

    def test_rematch(self) -> None:
        """
        Another round begins when all who are here have asked; wins stay, and all else
        is as at first.
        """
        match = play(Brawl, options={"turn_seconds": 5})
        self.assertEqual(match.rejected(0, Rematch()), "round_runs")
        winner = match.state.turn
        match.act(winner, Say("win"))
        match.act(0, Rematch())
        match.act(0, Rematch())
        self.assertEqual(kinds(match).count("asked"), 1)
        self.assertEqual(match.view().rematch, (0,))
        match.act(1, Rematch())
        view = match.view()
        self.assertEqual(
            (view.round, view.said, view.rematch, view.how), (2, 0, (), "")
        )
        self.assertEqual(view.wins[winner], 1)
        self.assertEqual((match.setup.turn_seconds, view.due), (5, match.time + 5))

    def test_a_leaver_was_missing(self) -> None:
        """
        When the one whom all were waiting for leaves, the next round begins without
        it; a player who is left alone is told so.
        """
        match = play(Brawl, seats=3)
        match.act(match.state.turn, Say("win"))
        match.act(0, Rematch())
        match.act(2, Rematch())
        match.leave(1)
        self.assertEqual((match.state.round, match.state.order), (2, (0, 2)))
        match.leave(0)
        self.assertEqual(match.rejected(2, Rematch()), "alone")

    def test_bots_agree(self) -> None:
        """
        A bot takes every rematch, and never asks for one.
        """
        match = play(Brawl)
        match.bot(1)
        match.wait(1.0)
        match.act(0, Say("win"))
        match.wait(60.0)
        self.assertEqual(match.state.rematch, ())
        match.act(0, Rematch())
        match.wait(1.0)
        self.assertEqual(match.state.round, 2)

    def test_starter(self) -> None:
        """
        The starter is drawn for each round, or alternates after the first, past those
        who have left.
        """
        drawn = {play(Brawl, seats=3, seed=seed).state.starter for seed in range(30)}
        self.assertEqual(drawn, {0, 1, 2})
        match = play(variant(starter="alternate"), seats=4)
        starters = []
        for _ in range(5):
            starters.append(match.state.starter)
            match.act(match.state.turn, Say("win"))
            for seat in range(4):
                match.act(seat, Rematch())
        self.assertEqual(starters, [(starters[0] + n) % 4 for n in range(5)])
        following = (match.state.starter + 1) % 4
        match.leave(following)
        match.act(match.state.turn, Say("win"))
        for seat in {0, 1, 2, 3} - {following}:
            match.act(seat, Rematch())
        self.assertEqual(match.state.starter, (following + 1) % 4)

    def test_kept(self) -> None:
        """
        Fields that a game keeps last from round to round.
        """
        match = play(variant(kept=("said",)))
        for expected in (1, 2):
            match.act(match.state.turn, Say("win"))
            self.assertEqual(match.view().said, expected)
            for seat in (0, 1):
                match.act(seat, Rematch())

    def test_alone(self) -> None:
        """
        A game for one has its winner, or none: by the time, for example.
        """
        for word, winner in (("win", 0), ("draw", None)):
            match = play(variant(seats=(1, 1)), seats=1)
            for _ in range(3):
                match.act(0, Say())
            match.act(0, Say(word))
            self.assertEqual(
                (match.state.winner, match.outcome.places), (winner, ((0,),))
            )
            self.assertEqual(match.outcome.scores, (int(winner == 0),))
            match.act(0, Rematch())
            self.assertEqual(match.state.round, 2)
        match.wait(10.0)
        self.assertEqual((match.state.winner, match.state.wins), (None, (0,)))
        self.assertEqual((match.state.how, match.outcome.places), ("timeout", ((0,),)))

    def test_a_team_alone(self) -> None:
        """
        Once all others have left, a team cannot begin another round by itself.
        """
        seats = [Seat(f"p{n}", team=n % 2) for n in range(4)]
        match = play(variant(Teams, seats=(2, 4)), seats)
        match.leave(1)
        match.leave(3)
        self.assertEqual(match.state.places, ((0, 2), (1, 3)))
        self.assertEqual(match.rejected(0, Rematch()), "alone")


class NewcomerTests(SynchronousTestCase):
    """Players who join after the start."""

    def test_watches(self) -> None:
        """
        A newcomer watches the round, has no place in it, and plays the next.
        """
        match = play(variant(late_join=True, bank_seconds=5.0))
        self.assertEqual(match.join(Seat("late")), 2)
        self.assertEqual(match.rejected(2, Say()), "watching")
        for _ in range(4):
            match.act(match.state.turn, Say())
            self.assertNotEqual(match.state.turn, 2)
        match.act(match.state.turn, Say("draw"))
        self.assertEqual(match.outcome.places, ((0, 1),))
        for seat in range(3):
            match.act(seat, Rematch())
        self.assertEqual(
            (match.state.order, match.view().bank), ((0, 1, 2), (5.0,) * 3)
        )

    def test_takes_a_leavers_seat(self) -> None:
        """
        Who takes a leaver's seat has none of its wins, and is not ranked for it.
        """
        match = play(variant(late_join=True, seats=(2, 3)), seats=3)
        winner = match.state.turn
        match.act(winner, Say("win"))
        for seat in range(3):
            match.act(seat, Rematch())
        match.leave(winner)
        self.assertEqual(match.join(Seat("late")), winner)
        self.assertEqual((match.state.wins, match.state.gone), ((0, 0, 0), ()))
        match.act(match.state.turn, Say("win"))
        self.assertNotIn(winner, sum(match.outcome.places, ()))

    def test_takes_over_from_a_bot(self) -> None:
        """
        Who takes a seat that the bot plays goes on with it, and has the time of a turn.
        """
        match = play(variant(late_join=True, on_leave="bot", seats=(2, 2)))
        turn = match.state.turn
        match.leave(turn)
        self.assertEqual(match.view().due, 1.0)
        self.assertEqual(match.join(Seat("late")), turn)
        self.assertEqual(match.view().due, 10.0)
        match.act(turn, Say())

    def test_team(self) -> None:
        """
        A newcomer plays for the team that it was given.
        """
        match = play(variant(Teams, late_join=True, seats=(2, 4)), seats=2)
        match.join(Seat("late", team=1))
        match.act(match.state.turn, Say("win"))
        for seat in range(3):
            match.act(seat, Rematch())
        self.assertEqual(match.state.teams, (0, 1, 1))
        match.act(match.state.turn, Say())


ACTS = ("pass", "again", "idle", "hit", "pick", "pick", "pick", "win", "draw", "fight")
CHANGES = ("rematch", "rematch", "leave", "join", "wait", "wait", "drop", "return")
#: What happens next: to a seat, with a number.
STEPS = some.tuples(some.sampled_from(ACTS + CHANGES), some.integers(0, 6))


class AnythingTests(SynchronousTestCase):
    """Whatever players do."""

    @settings(max_examples=200, deadline=None)
    @given(
        some.fixed_dictionaries(
            {
                "on_timeout": some.sampled_from(["forfeit", "skip", "bot"]),
                "on_leave": some.sampled_from(["forfeit", "skip", "bot"]),
                "starter": some.sampled_from(["drawn", "alternate"]),
                "bank_seconds": some.sampled_from([0.0, 15.0]),
                "teams": some.sampled_from([None, 1, 2, 3]),
                "absent": some.sampled_from(["wait", "bot", "forfeit"]),
            }
        ),
        some.booleans(),
        some.sampled_from([None, 10.0]),
        some.integers(1, 5),
        some.lists(STEPS, min_size=20, max_size=80),
    )
    def test_a_round_goes_on_or_is_over(
        self,
        facts: dict[str, Any],
        is_phased: bool,
        limit: float | None,
        seats: int,
        steps: list[tuple[str, int]],
    ) -> None:
        """
        A round waits for somebody who is in it, until a later time; or it is over, and
        has an outcome that ranks nobody twice.
        """
        base = Phased if is_phased else Brawl
        game = variant(base, late_join=True, seats=(1, 6), **facts)
        match = play(game, seats, options={"turn_seconds": limit})
        for word, number in steps:
            if match.closed:
                break
            seat = number % len(match.state.wins)
            acting = game().turns(match.state)
            if word not in ("leave", "drop", "return") and acting and number < 6:
                seat = acting[number % len(acting)]
            self.do(match, word, seat, number)
            self.check(match, game())

    def do(self, match: Match, word: str, seat: int, number: int) -> None:
        """Take one step, if it is possible."""
        try:
            match word:
                case "hit":
                    match.act(seat, Hit(number))
                case "pick":
                    match.act(seat, Pick(number))
                case "rematch":
                    for one in range(len(match.state.wins)):
                        match.act(one, Rematch())
                case "leave":
                    match.leave(seat)
                case "drop":
                    match.drop(seat)
                case "return":
                    match.return_(seat)
                case "join":
                    match.join(Seat("late"))
                case "wait":
                    match.wait(5.0 * number)
                case _:
                    match.act(seat, Say(word))
        except (Rejected, Refused):
            pass

    def check(self, match: Match, game: Brawl) -> None:
        """See that the round goes on, or is over."""
        s = match.state
        count = len(s.wins)
        self.assertIn(len(s.bank), (0, count))
        self.assertEqual(len(s.teams), 0 if game.teams is None else count)
        self.assertEqual(match.outcome is not None, s.phase == OVER)
        for seats in (s.order, s.out, s.gone, s.waiting, sum(s.places, ())):
            self.assertEqual(len(set(seats)), len(seats), seats)
        self.assertLessEqual(set(s.out), set(s.order))
        acting = game.turns(s)
        if s.phase == OVER:
            self.assertEqual((acting, s.due), ((), None))
            self.assertLessEqual(set(sum(s.places, ())), set(range(count)))
            return
        self.assertTrue(acting)
        self.assertLessEqual(set(acting), set(game.playing(s)))
        self.assertFalse(s.places)
        if s.due is None:
            self.assertFalse(set(acting) <= set(s.gone))
        else:
            self.assertGreater(s.due, match.time)
