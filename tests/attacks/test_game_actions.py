"""
Every action of every shipped game with each of its fields spoilt.

Over UDP at a real game server, and over a line at a real room: each is refused in
words that name the field, nothing happens in the game, and play goes on.
"""

from __future__ import annotations

from typing import Any, get_args

from msgspec import json, msgpack
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet, MemoryRecording
from tests.support.live_rooms import PlayerLine, kinds
from tests.support.lobbies import LobbyWorld, MemoryLine
from tests.support.malformed import is_at, nonsense, spoilt
from vinom.fleet.control.messages import RelayAction, RelayRefusal, RelaySeat
from vinom.fleet.gameserver.seats import ConnectionLimits
from vinom.game import Chance, Game
from vinom.lobby.conversation.conversation import Bounds
from vinom.net.packets.player import ActionRefused, Joined
from vinom.play.choices import action_reader
from vinom.play.game_loader import load_games

#: One good action of each kind, as data, with each of its fields.
GOOD: dict[str, tuple[dict[str, Any], ...]] = {
    "arena": (
        {"type": "move", "x": 1, "y": 0},
        {"type": "dash"},
        {"type": "rematch"},
    ),
    "dice": (
        {"type": "roll"},
        {"type": "set_aside", "dice": [0, 1], "end_turn": False},
        {"type": "end_turn"},
        {"type": "rematch"},
    ),
    "maze": (
        {"type": "move", "direction": "up", "from": [0, 0]},
        {"type": "dance"},
    ),
    "oldmaid": ({"type": "draw", "position": 0}, {"type": "rematch"}),
    "owedrahn": (
        {"type": "ready", "ready": True},
        {"type": "set_stake", "stake": 1},
        {"type": "roll"},
        {"type": "lose_life"},
        {"type": "choose_next", "seat": 1},
        {"type": "propose_bet", "to": 1, "amount": 1},
        {"type": "accept_bet", "bet": 1},
        {"type": "decline_bet", "bet": 1},
        {"type": "cancel_bet", "bet": 1},
    ),
    "roomecho": ({"x": 1, "y": 2, "q": 3},),
    "tictactoe": ({"type": "place", "row": 0, "col": 0}, {"type": "rematch"}),
}
#: Ours, and none that somebody else has installed.
SHIPPED = {
    name: game
    for name, game in load_games().items()
    if type(game).__module__.startswith("vinom.games.")
}
#: Actions that are sent together.
PIECE = 20


def acted(recording: MemoryRecording) -> list[Any]:
    """What players did, of all that reached a game."""
    return [
        one
        for one in recording.recorded
        if one.kind == "act" or (one.kind == "tick" and one.data)
    ]


def good_action(game: Game[Any, Any], views: list[Any], setup: Any) -> tuple[int, Any]:
    """Find somebody who may act now, and what may be done."""
    for seat, view in enumerate(views):
        action = game.bot(view, seat, Chance(1), setup)
        if action is not None:
            return seat, action
    raise AssertionError(f"nobody can act in {game.name}")


class GoodTests(SynchronousTestCase):
    """What is spoilt here."""

    def test_all_kinds_are_attacked(self) -> None:
        """
        No game is left out, and no action of one.
        """
        self.assertEqual(set(GOOD), set(SHIPPED))
        for name, game in SHIPPED.items():
            read = action_reader(game)
            good = {type(read(msgpack.encode(action))) for action in GOOD[name]}
            self.assertEqual(good, set(get_args(game.actions) or (game.actions,)))


class DatagramTests(SynchronousTestCase):
    """Over UDP, in MessagePack."""

    def begin(self, name: str) -> None:
        self.game = SHIPPED[name]
        limits = ConnectionLimits(1e6, 1e6, 1e6, 1e6)
        self.net = GameNet(games={name: self.game}, limits=limits)
        self.players = self.net.begin(max(2, self.game.seats[0]), name)
        self.recording = self.net.recordings.matches["m1"]

    def refusals(self, actions: list[Any]) -> list[ActionRefused]:
        """Have the first player send these; returns what was refused."""
        player = self.players[0]
        heard = len(player.events)
        for at in range(0, len(actions), PIECE):
            for action in actions[at : at + PIECE]:
                player.act(action)
            self.net.run(0.05)
        self.net.run(0.3)
        return [one for one in player.events[heard:] if isinstance(one, ActionRefused)]

    def assert_plays_on(self) -> None:
        """A good action is taken, and everybody sees what came of it."""
        done = len(acted(self.recording))
        views = [msgpack.decode(player.seen.view) for player in self.players]
        setup = self.players[0].of(Joined)[0].setup
        seat, action = good_action(
            self.game, views, msgpack.decode(setup) if setup else None
        )
        before = [player.seen.version for player in self.players]
        number = self.players[seat].act(action)
        self.net.run(0.3)
        self.assertEqual(self.players[seat].seen.acked, number)
        self.assertEqual(len(acted(self.recording)), done + 1)
        for player, version in zip(self.players, before, strict=True):
            self.assertGreater(player.seen.version, version)

    def test_spoilt(self) -> None:
        """
        Each is refused because the game has no such action; the field is named, and the
        game does not receive it.
        """
        for name, goods in GOOD.items():
            self.begin(name)
            room = self.net.server.rooms["m1"].room
            before = room.version
            wrong = [
                each
                for good in goods
                for each in spoilt(self.game.actions, good, "msgpack")
            ]
            refused = self.refusals([action for _, action in wrong])
            self.assertEqual(len(refused), len(wrong), name)
            for (place, action), refusal in zip(wrong, refused, strict=True):
                self.assertEqual(refusal.code, "bad_action", (name, action))
                self.assertTrue(is_at(refusal.reason, place), (name, action, refusal))
                self.assertTrue(refusal.message)
            self.assertEqual(acted(self.recording), [], name)
            if not self.game.tick_hz:
                self.assertEqual(room.version, before, name)
            self.assert_plays_on()

    def test_nonsense(self) -> None:
        """
        What has the right types and makes no sense is taken, or refused in words;
        no match ends of it.
        """
        for name, goods in GOOD.items():
            self.begin(name)
            actions = [
                action
                for good in goods
                for action in nonsense(self.game.actions, good, "msgpack")
            ]
            for refusal in self.refusals(actions):
                self.assertEqual(refusal.code, "rejected", (name, refusal))
            self.assertEqual(self.net.ends, [], name)
            self.assertEqual([player.lost for player in self.players], [[], []])


class RelayTests(SynchronousTestCase):
    """In a match of a game server, by way of the node."""

    def test_long_number(self) -> None:
        """
        A player on a line cannot end the match of those over UDP by a number that
        they could not be shown.
        """
        net = GameNet(games={"roomecho": SHIPPED["roomecho"]})
        ann, _ = net.begin(2, "roomecho")
        net.server.received(RelaySeat("m1", 1, "join", 1))
        for number, x in enumerate((10**30, 2**64, -(2**63) - 1, 5), 1):
            action = b'{"x":%d,"y":0,"q":0}' % x
            net.server.received(RelayAction("m1", 1, number, action))
            net.run(0.1)
        refused = net.of(RelayRefusal)
        self.assertEqual(
            [(no.number, no.code, no.reason) for no in refused],
            [(number, "bad_action", "x") for number in (1, 2, 3)],
        )
        self.assertEqual(net.ends, [])
        self.assertEqual(msgpack.decode(ann.seen.view)["p"]["1"]["x"], 5)


class LineTests(SynchronousTestCase):
    """Over a line of the lobby, in JSON."""

    def begin(self, name: str) -> None:
        self.game = SHIPPED[name]
        self.world = GamesWorld(
            games={name: self.game},
            bounds=Bounds(rate=1e6, burst=1e6, actions=1e6),
        )
        self.lines: list[PlayerLine] = []
        for player in ("ann", "bob"):
            line, _ = self.world.hello(player)
            assert isinstance(line, PlayerLine)
            self.lines.append(line)
            line.say("join_room", game=name, room_id="r1")
        self.world.clock.advance(0)
        if not self.started(self.lines[0].sent):
            # More may come, so the host must begin.
            self.lines[0].say("start_room")
            self.world.clock.advance(0)
        said = [line.heard() for line in self.lines]
        self.setup = self.started(said[0])[0]["data"]["setup"]
        self.views = [self.states(each)[-1]["data"]["view"] for each in said]
        self.recording = self.world.recordings.matches.popitem()[1]

    def started(self, said: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [message for message in said if message["type"] == "room_started"]

    def states(self, said: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [message for message in said if message["type"] == "game_state"]

    def send(self, action: Any, id: int) -> list[dict[str, Any]]:
        asked = {"type": "action", "id": id, "data": action}
        self.lines[0].conversation.received(json.encode(asked))
        self.world.clock.advance(0)
        return self.lines[0].heard()

    def test_spoilt(self) -> None:
        """
        Each is refused as no action of this game, naming the field; nobody is shown
        anything, and the next good one is taken.
        """
        for name, goods in GOOD.items():
            self.begin(name)
            for good in goods:
                for place, action in spoilt(self.game.actions, good, "json"):
                    (answer,) = self.send(action, 1)
                    self.assertEqual(answer["type"], "error", (name, action))
                    self.assertEqual(answer["id"], 1)
                    error = answer["error"]
                    self.assertEqual(error["code"], "bad_action", (name, action))
                    self.assertTrue(
                        is_at(error["details"]["field"], place), (place, action, error)
                    )
            self.assertEqual(self.lines[1].heard(), [], name)
            self.assertEqual(acted(self.recording), [], name)
            seat, action = good_action(self.game, self.views, self.setup)
            self.lines[seat].do(1, **json.decode(json.encode(action)))
            self.world.clock.advance(1.0 / (self.game.tick_hz or 1))
            for line in self.lines:
                (state, *_) = self.states(line.heard())
                self.assertEqual(state["data"]["ack"], {str(seat): 1}, name)
            self.assertEqual(len(acted(self.recording)), 1)

    def test_nonsense(self) -> None:
        """
        What has the right types and makes no sense is taken, or refused in words;
        no room ends of it.
        """
        for name, goods in GOOD.items():
            self.begin(name)
            number = 0
            for good in goods:
                for action in nonsense(self.game.actions, good, "json"):
                    number += 1
                    for message in self.send(action, number):
                        if message["type"] == "error":
                            # A value that no game could show isn't an action either.
                            is_long = 10**30 in action.values()
                            self.assertEqual(
                                message["error"]["code"],
                                "bad_action" if is_long else "rejected",
                            )
                    self.world.clock.advance(0.01)
            for line in self.lines:
                self.assertNotIn("room_closed", kinds(line.heard()))
            self.assertEqual(self.world.rooms.directory.status()["rooms"], 1, name)


class GamesWorld(LobbyWorld):
    """A lobby whose players can play."""

    def make_line(self, host: str, ends_at_match: bool) -> MemoryLine:
        return PlayerLine(host, ends_at_match)
