"""Who plays in a room of the node, and in which team."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import PlayerLine, RoomsWorld, kinds, only
from vinom.game import Game


class WhoPlaysTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = RoomsWorld()

    def sides(self, line: PlayerLine) -> list[list[str]]:
        """Take who plays, as the game was given it: id, name and team."""
        self.world.turn()
        state = [m for m in line.heard() if m["type"] == "game_state"][-1]["data"]
        return [one.split("/") for one in state["view"]["last"].split(" ")]

    def id_of(self, joined: dict[str, Any]) -> str:
        """Take the begin of a player's own id from what it was answered."""
        return str(joined["players"][joined["seat"]]["player_id"][:6])

    def test_ids(self) -> None:
        """
        A game learns the id that players are shown; a bot has none.
        """
        ann, first = self.world.joined("ann", "r1", "sides")
        _, second = self.world.joined("bob", "r1", "sides")
        ann.ask("add_bot")
        # Its name has a space, which `sides` cuts at.
        ann.heard()
        ann.say("start_room")
        found = self.sides(ann)[:3]
        self.assertEqual(
            [one[0] for one in found], [self.id_of(first), self.id_of(second), ""]
        )

    def test_bot_that_comes_late(self) -> None:
        """
        A bot that joins during play has the same name for the game as for the players.
        """

        def joined(game: Game[Any, Any], s: Any, *of: Any) -> Any:
            seat, _, newcomer = of
            last = f"{newcomer.player_id}/{newcomer.name}"
            return replace(s, seats=seat + 1, last=last)

        game = type(self.world.games["open"])
        self.patch(game, "bot_names", ("Disco",))
        self.patch(game, "joined", joined)
        ann, _ = self.world.joined("ann", "r1", "open")
        ann.ask("start_room")
        self.world.turn()
        ann.heard()
        said = ann.ask("add_bot")
        came = next(m for m in said if m["type"] == "client_joined")["data"]
        self.assertEqual((came["name"], came["player_id"]), ("Disco", ""))
        self.world.turn()
        state = [m for m in said + ann.heard() if m["type"] == "game_state"][-1]
        self.assertEqual(state["data"]["view"]["last"], "/Disco")

    def test_teams(self) -> None:
        """
        The host chooses teams, of seats that are still free as well; all are sent it,
        and the players keep theirs when the seats move up. The others are dealt.
        """
        ann, _ = self.world.joined("ann", "r1", "sides")
        bob, _ = self.world.joined("bob", "r1", "sides")
        ann.heard()
        said = ann.ask("set_team", seat=0, team=1)
        self.assertEqual(kinds(said), ["team_set", "room_done"])
        ann.ask("set_team", seat=2, team=1)
        said = [m["data"] for m in bob.heard() if m["type"] == "team_set"]
        self.assertEqual([(m["seat"], m["team"]) for m in said], [(0, 1), (2, 1)])
        _, joined = self.world.joined("cid", "r1", "sides")
        self.assertEqual([p.get("team") for p in joined["players"]], [1, None, 1])
        came = next(m for m in ann.heard() if m["type"] == "client_joined")["data"]
        self.assertEqual((came["name"], came["team"]), ("cid", 1))
        bob.ask("leave_room")
        ann.say("start_room")
        self.world.turn()
        said = ann.heard()
        started = next(m for m in said if m["type"] == "room_started")["data"]
        self.assertEqual(
            [(p["seat"], p["name"], p["team"]) for p in started["players"]],
            [(0, "ann", 1), (1, "cid", 1)],
        )
        state = [m for m in said if m["type"] == "game_state"][-1]["data"]
        found = [one.split("/") for one in state["view"]["last"].split(" ")]
        self.assertEqual([one[1:] for one in found], [["ann", "1"], ["cid", "1"]])

    def test_team_taken_back(self) -> None:
        """
        A host that changes its mind leaves the seat to the rules again.
        """
        ann, _ = self.world.joined("ann", "r1", "sides")
        self.world.joined("bob", "r1", "sides")
        ann.ask("set_team", seat=0, team=1)
        ann.ask("set_team", seat=0, team=None)
        ann.ask("set_team", seat=1, team=0)
        ann.say("start_room")
        self.assertEqual(
            [one[1:] for one in self.sides(ann)], [["ann", "1"], ["bob", "0"]]
        )

    def test_teams_of_a_rematch(self) -> None:
        """
        Between two rounds the host may choose again; during one it may not.
        """
        ann, _ = self.world.joined("ann", "r1", "sides")
        self.world.joined("bob", "r1", "sides")
        ann.say("start_room")
        self.world.turn()
        ann.heard()
        refused = only(ann.ask("set_team", seat=0, team=1))["error"]
        self.assertEqual(
            (refused["code"], refused["details"]["state"]), ("not_now", "playing")
        )
        ann.act(1, word="end")
        self.world.turn()
        ann.heard()
        self.assertEqual(kinds(ann.ask("set_team", seat=0, team=1))[-1], "room_done")
        ann.ask("set_team", seat=1, team=1)
        ann.say("rematch")
        self.assertEqual([one[2] for one in self.sides(ann)], ["1", "1"])

    def test_refused(self) -> None:
        """
        Only the host may, and only what the game has.
        """
        ann, _ = self.world.joined("ann", "r1", "sides")
        bob, _ = self.world.joined("bob", "r1", "sides")
        ann.heard()
        self.assertEqual(
            only(bob.ask("set_team", seat=1, team=0))["error"]["code"], "not_host"
        )
        for data, field, words in (
            ({"seat": 0, "team": 2}, "data.team", "sides has teams 0 to 1"),
            ({"seat": 4, "team": 0}, "data.seat", "sides has seats 0 to 3"),
            ({"seat": 0, "team": -1}, "data.team", ""),
        ):
            error = only(ann.ask("set_team", **data))["error"]
            self.assertEqual(
                (error["code"], error["details"]["field"]), ("bad_field", field)
            )
            self.assertIn(words, error["message"])
        cid, _ = self.world.joined("cid", "r2", "few")
        error = only(cid.ask("set_team", seat=0, team=0))["error"]
        self.assertIn("few has no teams", error["message"])
