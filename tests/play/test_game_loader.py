"""Finding games, as an operator configures them."""

from __future__ import annotations

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Tale, Teller
from vinom.errors import Misconfigured
from vinom.games.maze import Maze
from vinom.play.game_loader import installed_games, load_game, load_games


class TooManyTeams(Teller):
    """Three players cannot be four teams."""

    teams = 4


class Unsure(Teller):
    """Has an invalid value for absent players."""

    absent = "perhaps"  # type: ignore[assignment]  # that is the point


class NoBot(Teller):
    """Promises a bot and has none."""

    absent = "bot"


class Hasty(Teller):
    """Its bot would never rest."""

    bot_seconds = 0.0


class Unforgiving(Teller):
    """Gives a seat up before it is lost."""

    forfeit_seconds = -1.0


class Uncounted(Teller):
    """Says how many players, not how few and how many."""

    seats = 2  # type: ignore[assignment]  # that is the point


class Wordy(Teller):
    """Writes a time in words."""

    linger = "long"  # type: ignore[assignment]  # that is the point


class Unnamed(Teller):
    """Has timers, and does not want to know which one it is called for."""

    def timers(self, s: Tale) -> dict[str, float | None]:
        return {}


class Stay(Struct, frozen=True):
    """Do nothing."""


class Talk(Struct, frozen=True):
    """Say nothing."""


class Shapeless(Teller):
    """Takes any action, so nothing checks them."""

    actions = dict


class Talker(Teller):
    """Takes two kinds of actions, which a message can't tell apart."""

    actions = Stay | Talk


class LoadGamesTests(SynchronousTestCase):
    def test_installed_games(self) -> None:
        """
        Games that packages offer are there without being asked for.
        """
        games = load_games()
        self.assertIsInstance(games["maze"], Maze)
        self.assertIn("roomecho", games)

    def test_found_before(self) -> None:
        """
        Given the installed games, the loader loads just these.
        """
        self.assertEqual(list(load_games((), ("vinom.games.maze:Maze",))), ["maze"])
        self.assertIn("vinom.games.maze:Maze", installed_games())

    def test_games_by_class(self) -> None:
        """
        A game on the import path needs no package; without a name of its own
        it is called like its class.
        """
        games = load_games(
            ["tests.support.games:Teller", "tests.support.games:Nameless"]
        )
        self.assertIsInstance(games["teller"], Teller)
        self.assertIn("nameless", games)
        self.assertIn("maze", games)

    def test_two_of_one_name(self) -> None:
        """
        Two games cannot have one name.
        """
        with self.assertRaisesRegex(Misconfigured, "'teller' is taken"):
            load_games(["tests.support.games:Teller", "tests.support.games:Stuck"])

    def test_mistakes(self) -> None:
        """
        Each mistake is reported in one sentence.
        """
        for spec, why in (
            ("maze", "must look like package.module:Class"),
            ("a.b:", "must look like package.module:Class"),
            (":Maze", "must look like package.module:Class"),
            ("no_such_module:Maze", "import no_such_module: .*the folder that has no_"),
            ("vinom.games.nim:Nim", "No module named 'vinom.games.nim'$"),
            ("..:Maze", "cannot import"),
            ("vinom.games.maze:Maize", "no Maize in vinom.games.maze; did you .*Maze"),
            ("vinom.games.maze:Chess", "no Chess in vinom.games.maze$"),
            ("vinom.games.maze:Move", "is not a subclass of"),
            ("vinom.game:Game", "actions is missing"),
            ("tests.play.test_game_loader:TooManyTeams", "teams 4 must be 1 to 3"),
            ("tests.play.test_game_loader:Unsure", "absent 'perhaps' must be"),
            ("tests.play.test_game_loader:NoBot", "there is no bot method"),
            ("tests.play.test_game_loader:Hasty", "bot_seconds 0.0 must be"),
            ("tests.play.test_game_loader:Unforgiving", "forfeit_seconds -1.0 must be"),
            (
                "tests.play.test_game_loader:Uncounted",
                "seats 2 must be two numbers, fewest",
            ),
            (
                "tests.play.test_game_loader:Wordy",
                "linger 'long' must be a number of sec",
            ),
            (
                "tests.play.test_game_loader:Unnamed",
                r"write advance\(self, s, now, name=\"\"\)",
            ),
            (
                "tests.play.test_game_loader:Shapeless",
                "actions must be a msgspec struct",
            ),
            (
                "tests.play.test_game_loader:Talker",
                'actions: Stay needs a tag, such as tag="stay"',
            ),
        ):
            with self.assertRaisesRegex(Misconfigured, why):
                load_game(spec)
