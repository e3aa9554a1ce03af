"""Levels of a game's bot: who chooses them, and where they last."""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins
from twisted.trial.unittest import SynchronousTestCase

from tests.rooms.test_checkpoints import SECONDS, Nodes, view
from tests.support.live_rooms import Few, RoomsWorld, Word
from vinom.errors import Misconfigured
from vinom.game import Chance
from vinom.games.tictactoe import TicTacToe
from vinom.node.web.pages import described
from vinom.play.game_loader import load_game
from vinom.testing import play
from vinom.tools.check.trial import try_game


class Graded(Few):
    """Its bot says at which level it plays."""

    name = "graded"
    levels = ("easy", "hard", "best")
    absent = "bot"
    bot_seconds = 0.5

    def bot(
        self, view: Any, seat: int, chance: Chance, setup: Any, level: str = ""
    ) -> Word:
        return Word(f"{seat} is {level}")


class Unlevelled(Few):
    """Has levels, and does not take them."""

    levels = ("easy", "hard")


class Nameless(Graded):
    """Has a level without a name."""

    levels = ("",)


class RoomTests(SynchronousTestCase):
    def start(self, node: RoomsWorld, *levels: Any) -> Any:
        """Ann begins with bots of these levels."""
        ann, welcome = node.hello("ann")
        (joined,) = ann.ask("join_room", game="graded", room_id="r1")
        for level in levels:
            ann.ask("add_bot", **({"level": level} if level else {}))
        ann.ask("start_room")
        node.turn()
        return ann, welcome["player_key"], joined["data"]["resume"]

    def said(self, world: Any, ann: Any, times: int = 4) -> set[str]:
        """What bots say in the next seconds."""
        heard = set()
        for _ in range(times):
            world.clock.advance(0.25)
            heard.add(view(ann.heard() or [_NOTHING])["last"])
        return heard - {""}

    def test_chosen(self) -> None:
        """
        Each bot plays at the level that the host chose, by default at the first.
        """
        world = Nodes().start("n1", games=(Graded,))
        ann, _, _ = self.start(world, "hard", "", "best")
        heard = self.said(world, ann)
        self.assertLessEqual(heard, {"1 is hard", "2 is easy", "3 is best"})
        self.assertIn("3 is best", heard)

    def test_unknown(self) -> None:
        """
        A level that the bot does not have is refused, with those that it has; so is any
        level of a bot without levels.
        """
        world = Nodes().start("n1", games=(Graded,))
        for game, why in (
            ("graded", "no level 'godlike'; its levels are easy, hard, best"),
            ("few", "no level 'godlike'; its levels are none: leave it out"),
        ):
            ann, _ = world.joined("ann", game, game)
            (said,) = ann.ask("add_bot", room_id=game, level="godlike")
            self.assertEqual(said["error"]["code"], "bad_field")
            self.assertEqual(said["error"]["details"]["field"], "data.level")
            self.assertIn(why, said["error"]["message"])

    def test_on_another_node(self) -> None:
        """
        At the node that goes on with a room its bots play at the same levels, whether
        play had begun or not.
        """
        for has_begun in (True, False):
            nodes = Nodes()
            first = nodes.start("n1", games=(Graded,))
            second = nodes.start("n2", games=(Graded,))
            ann, welcome = first.hello("ann")
            (joined,) = ann.ask("join_room", game="graded", room_id="r1")
            ann.ask("add_bot", level="best")
            if has_begun:
                ann.ask("start_room")
            first.turn()
            nodes.wait(0.2)
            first.die()
            nodes.wait(SECONDS)
            back, _ = second.back(welcome["player_key"])
            said = back.ask("reconnect", resume=joined["data"]["resume"])
            self.assertEqual(said[0]["type"], "reconnect_result", said)
            if not has_begun:
                back.ask("start_room")
            nodes.wait(1.0)
            self.assertEqual(view(back.heard())["last"], "1 is best")

    def test_for_a_player_who_is_away(self) -> None:
        """
        For a player who is away the bot plays at its last level.
        """
        match = play(Graded, 2)
        match.drop(1)
        match.wait(0.6)
        self.assertEqual(match.state.last, "1 is best")
        match.bot(1, "hard")
        match.wait(0.6)
        self.assertEqual(match.state.last, "1 is hard")
        self.assertRaises(ValueError, match.bot, 1, "godlike")


class AuthorTests(SynchronousTestCase):
    def test_checked(self) -> None:
        """
        ``vinom check`` plays bots at all levels, and the list of games has them.
        """
        seen: set[str] = set()

        class Noting(Graded):
            def act(self, s: Any, seat: int, action: Word, now: float) -> Any:
                seen.add(action.word)
                return super().act(s, seat, action, now)

        try_game(Noting(), "noting", 2, 1, most_steps=60)
        self.assertLessEqual({f"1 is {level}" for level in Graded.levels}, seen)
        self.assertEqual(described(Graded())["levels"], ["easy", "hard", "best"])

    def test_mistakes(self) -> None:
        """
        A game with levels whose bot does not take them is not loaded.
        """
        for name, why in (
            ("Unlevelled", r'with levels, bot\(\) needs a last parameter level=""'),
            ("Nameless", "must have names"),
        ):
            with self.assertRaisesRegex(Misconfigured, why):
                load_game(f"tests.rooms.test_levels:{name}")

    def test_turns(self) -> None:
        """
        In a game in turns `choose` gets the level: tic-tac-toe's easy bot loses to its
        perfect one, which never loses.
        """
        game, levels, won = TicTacToe(), ("easy", "perfect"), [0, 0]
        for seed in range(16):
            match = play(game, seed=seed)
            while match.outcome is None:
                seat = match.view().turn
                chance = Chance(seed).fork(f"{match.time} {match.view()}")
                seen = to_builtins(match.view())
                match.act(seat, game.bot(seen, seat, chance, None, levels[seat]))
            if match.view().winner is not None:
                won[match.view().winner] += 1
        self.assertEqual(won[0], 0)
        self.assertGreater(won[1], 8)

    def test_turns_of_one_who_left(self) -> None:
        """
        In a game in turns the bot that plays on for a player who left plays at the last
        level.
        """
        at: list[str] = []

        class Going(TicTacToe):
            on_leave = "bot"

            def choose(self, *args: Any) -> Any:
                at.append(args[-1])
                return super().choose(*args)

        match = play(Going)
        match.leave(match.view().turn)
        match.wait(2.0)
        self.assertEqual(set(at), {"perfect"})


_NOTHING = {"type": "game_state", "data": {"view": {"last": ""}}}
