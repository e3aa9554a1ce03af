"""What a player is sent on its line."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import kinds
from tests.support.lobbies import Faulty, LobbyWorld, MemoryLine, everybody
from tests.support.logged import watch_events
from vinom.lobby.conversation.conversation import Bounds


def codes(said: list[dict[str, Any]]) -> list[str]:
    return [message["error"]["code"] for message in said]


class HelloTests(SynchronousTestCase):
    """The first message."""

    def test_welcome(self) -> None:
        """
        A guest on this machine is welcome, and learns its key and the games.
        """
        world = LobbyWorld()
        said = world.line().ask("hello", id=1, protocol=1, name=" Ann ")
        self.assertEqual(kinds(said), ["welcome"])
        self.assertEqual(said[0]["id"], 1)
        data = said[0]["data"]
        self.assertEqual((data["name"], data["protocol"]), ("Ann", 1))
        self.assertEqual(data["games"], ["duel", "party"])
        self.assertGreaterEqual(len(data["player_key"]), 32)
        self.assertNotIn(data["player_id"], data["player_key"])

    def test_hello_first(self) -> None:
        """
        Anything else before hello is refused, and a hello still works after it.
        """
        world = LobbyWorld()
        line = world.line()
        self.assertEqual(codes(line.ask("queue", game="duel")), ["hello_first"])
        self.assertEqual(kinds(line.ask("hello", protocol=1, name="a")), ["welcome"])
        self.assertEqual(world.requests.errors, {"hello_first": 1})

    def test_hello_twice(self) -> None:
        """
        A line is one player's for good.
        """
        line, _ = LobbyWorld().hello("ann")
        said = line.ask("hello", id=2, protocol=1, name="bob")
        self.assertEqual(codes(said), ["hello_twice"])
        self.assertEqual(said[0]["id"], 2)

    def test_other_protocol(self) -> None:
        """
        A client of another version learns which are spoken, and may try again.
        """
        line = LobbyWorld().line()
        said = line.ask("hello", protocol=9, name="ann", shiny=True)
        self.assertEqual(codes(said), ["protocol_unsupported"])
        self.assertEqual(said[0]["error"]["details"], {"min": 1, "max": 1})
        self.assertEqual(kinds(line.ask("hello", protocol=1, name="a")), ["welcome"])

    def test_silence(self) -> None:
        """
        Ten seconds without a hello end the line, with a reason.
        """
        world = LobbyWorld()
        line = world.line()
        world.clock.advance(9.9)
        line.ask("ping")
        world.clock.advance(0.2)
        self.assertEqual(codes(line.heard()), ["timeout"])
        self.assertTrue(line.is_closed)
        self.assertEqual(world.requests.counts(), {"lines": 0, "players": 0})
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_slow_start(self) -> None:
        """
        A peer that took nine seconds for its first byte has one left for a hello.
        """
        world = LobbyWorld()
        line = MemoryLine()
        line.opened_at = world.clock.seconds() - 9.0
        line.conversation = world.requests.open(line)
        world.clock.advance(1.0)
        self.assertEqual(codes(line.heard()), ["timeout"])

    def test_refusals_are_in_the_log(self) -> None:
        """
        An operator sees who was refused and sent away, one line each, no traceback.
        """
        logged = watch_events(self)
        world = LobbyWorld(bounds=Bounds(rate=1.0, burst=2.0))
        line = world.line("127.0.0.9")
        line.ask("hello", protocol=1, player_key="guess")
        for _ in range(5):
            if not line.is_closed:
                line.ask("ping")
        said = [formatEvent(event) for event in logged]
        self.assertEqual(
            said,
            [
                "refused a hello from 127.0.0.9: unknown_player_key, "
                "say hello with a name or credentials",
                "disconnected 127.0.0.9: too many messages",
            ],
        )
        self.assertNotIn("log_failure", {key for event in logged for key in event})

    def test_idle(self) -> None:
        """
        A player who is idle for ten minutes is disconnected; one who waits is not.
        """
        world = LobbyWorld()
        idle, _ = world.hello("ann")
        waits, _ = world.queued("bob", "duel")
        talks, _ = world.hello("cat")
        world.clock.advance(400)
        talks.ask("ping")
        world.clock.advance(201)
        self.assertEqual(codes(idle.heard()), ["timeout"])
        self.assertTrue(idle.is_closed)
        self.assertFalse(waits.is_closed)
        self.assertFalse(talks.is_closed)
        world.clock.advance(400)
        self.assertTrue(talks.is_closed)
        self.assertFalse(waits.is_closed)

    def test_names_are_refused_by_rule(self) -> None:
        """
        A bad name is refused with its field, and the line goes on.
        """
        line = LobbyWorld().line()
        said = line.ask("hello", protocol=1, name="\x1b[2J")
        self.assertEqual(codes(said), ["name_refused"])
        self.assertEqual(said[0]["error"]["details"], {"field": "data.name"})

    def test_newest_line_wins(self) -> None:
        """
        The same player on a second line takes over; the first is sent the reason.
        """
        world = LobbyWorld()
        old, welcome = world.queued("ann", "duel")
        _, news = world.back(welcome["player_key"])
        self.assertEqual(codes(old.heard()), ["replaced"])
        self.assertTrue(old.is_closed)
        self.assertEqual(news[0]["data"]["state"], "waiting")
        old.conversation.lost()
        world.clock.advance(11)
        self.assertTrue(world.online.is_here(welcome["player_id"]))
        entry = self.successResultOf(world.lobby.of_player(welcome["player_id"])).entry
        self.assertFalse(entry.suspended)

    def test_key_is_not_guessable_or_shared(self) -> None:
        """
        A public id, or any other text, isn't a key.
        """
        world = LobbyWorld()
        _, welcome = world.hello("ann")
        for key in (welcome["player_id"], "x", welcome["player_key"][:-1]):
            said = world.line().ask("hello", protocol=1, player_key=key)
            self.assertEqual(codes(said), ["unknown_player_key"])

    def test_shutdown(self) -> None:
        """
        When the node stops, everybody is sent the reason and every line closed.
        """
        world = LobbyWorld()
        line, _ = world.hello("ann")
        stranger = world.line()
        world.requests.stopService()
        self.assertEqual(codes(line.heard()), ["shutdown"])
        self.assertEqual(codes(stranger.heard()), ["shutdown"])
        self.assertTrue(line.is_closed)


class TalkTests(SynchronousTestCase):
    """Requests and answers."""

    def test_ping(self) -> None:
        """
        A ping is answered with its id.
        """
        line, _ = LobbyWorld().hello("ann")
        self.assertEqual(
            line.ask("ping", id="x"),
            [{"type": "pong", "id": "x", "success": True, "data": {}}],
        )

    def test_junk(self) -> None:
        """
        Junk is answered, and the next good request is served.
        """
        line, _ = LobbyWorld().hello("ann")
        for junk, code in (
            (b"GET / HTTP/1.1", "bad_message"),
            (b'{"type":"dance"}', "unknown_type"),
            (b'{"type":"queue","data":{}}', "bad_field"),
        ):
            line.conversation.received(junk)
            self.assertEqual(codes(line.heard()), [code])
        self.assertEqual(kinds(line.ask("ping")), ["pong"])

    def test_too_fast(self) -> None:
        """
        Too many messages are refused with the time to wait, each with an answer.
        """
        world = LobbyWorld(bounds=Bounds(rate=2.0, burst=3.0))
        line, _ = world.hello("ann")
        answers = [line.ask("ping", id=n)[0] for n in range(4)]
        self.assertEqual(kinds(answers), ["pong", "pong", "error", "error"])
        self.assertEqual(answers[2]["error"]["code"], "rate_limited")
        self.assertEqual(answers[2]["error"]["details"], {"retry_after": 0.5})
        self.assertEqual(answers[2]["id"], 2)
        world.clock.advance(0.5)
        self.assertEqual(kinds(line.ask("ping")), ["pong"])

    def test_flood(self) -> None:
        """
        A player who does not stop is disconnected.
        """
        world = LobbyWorld(bounds=Bounds(rate=1.0, burst=5.0))
        line, _ = world.hello("ann")
        for _ in range(40):
            line.ask("ping")
        self.assertTrue(line.is_closed)
        self.assertEqual(world.requests.counts(), {"lines": 0, "players": 0})

    def test_pipelined(self) -> None:
        """
        Requests sent without waiting are answered in their order.
        """
        world = LobbyWorld(store=slow())
        line, _ = world.hello("ann")
        self.assertEqual(line.ask("queue", id=1, game="duel"), [])
        self.assertEqual(line.ask("ping", id=2), [])
        self.assertEqual(line.ask("cancel", id=3), [])
        world.lobby.go_on()
        said = line.heard()
        self.assertEqual([m.get("id") for m in said], [1, 2, 3])
        self.assertEqual(kinds(said), ["queue_status", "pong", "queue_status"])

    def test_pipelined_without_end(self) -> None:
        """
        A node holds a few requests, and refuses more instead of forgetting them.
        """
        world = LobbyWorld(store=slow())
        line, _ = world.hello("ann")
        line.ask("queue", id=0, game="duel")
        refused = [m["id"] for n in range(1, 20) for m in line.ask("ping", id=n)]
        self.assertEqual(refused, [17, 18, 19])
        world.lobby.go_on()
        self.assertEqual([m["id"] for m in line.heard()], list(range(17)))

    def test_storage_does_not_answer(self) -> None:
        """
        When storage fails, players are asked to try again, and the node keeps running.
        """
        world = LobbyWorld(store=Faulty())
        line, _ = world.hello("ann")
        world.lobby.failures["enqueue"] = 1
        self.assertEqual(codes(line.ask("queue", game="duel")), ["store_unavailable"])
        self.assertEqual(kinds(line.ask("ping")), ["pong"])

    def test_our_mistake(self) -> None:
        """
        A fault of ours is one player's answer and a line in our log.
        """
        world = LobbyWorld(store=Faulty())
        line, _ = world.hello("ann")
        world.lobby.before["enqueue"] = fault
        said = line.ask("queue", game="duel")
        self.assertEqual(codes(said), ["internal"])
        self.assertNotIn("secret", str(said))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(kinds(line.ask("ping")), ["pong"])

    def test_gone_while_we_worked(self) -> None:
        """
        A player who leaves during its own request does not stay queued.
        """
        world = LobbyWorld(store=slow())
        line, welcome = world.hello("ann")
        line.ask("queue", game="duel")
        line.hang_up()
        world.lobby.go_on()
        entry = self.successResultOf(world.lobby.of_player(welcome["player_id"])).entry
        self.assertTrue(entry.suspended)
        world.clock.advance(10.1)
        self.assertEqual(everybody(world.lobby), [])

    def test_gone_during_hello(self) -> None:
        """
        A line that closes during its hello leaves nobody present.
        """
        world = LobbyWorld(store=slow())
        line = world.line()
        line.ask("hello", protocol=1, name="ann")
        world.lobby.held.add("of_player")
        other = world.line()
        other.ask("hello", protocol=1, name="bob")
        other.hang_up()
        world.lobby.go_on()
        self.assertEqual(world.requests.counts(), {"lines": 1, "players": 1})

    def test_heard_out(self) -> None:
        """
        A player who closes its half after requests gets all answers, and then leaves.
        """
        world = LobbyWorld(store=slow())
        line, _ = world.hello("ann")
        line.ask("queue", 2, game="duel")
        line.ask("ping", 3)
        line.conversation.heard_out()
        self.assertFalse(line.is_closed)
        world.lobby.go_on()
        answers = [(said["type"], said["id"]) for said in line.heard()]
        self.assertEqual(answers, [("queue_status", 2), ("pong", 3)])
        self.assertTrue(line.is_closed)
        idle = world.line()
        idle.conversation.heard_out()
        self.assertTrue(idle.is_closed)
        self.assertEqual(world.requests.counts(), {"lines": 0, "players": 0})


def slow() -> Faulty:
    """Make a store across a slow network: who queues waits for `go_on`."""
    store = Faulty()
    store.held.add("enqueue")
    return store


def fault() -> None:
    """Fail as a mistake of ours does."""
    raise ZeroDivisionError("secret")


class OpenLineTests(SynchronousTestCase):
    """A line that stays, as WebSocket's will."""

    def test_stays_at_match(self) -> None:
        """
        A line that does not end at a match is sent the match's end too.
        """
        world = LobbyWorld()
        lines: list[MemoryLine] = []
        for name in ("ann", "bob"):
            line, _ = world.hello(name, ends_at_match=False)
            line.ask("queue", game="duel")
            lines.append(line)
        world.clock.advance(0)
        for line in lines:
            self.assertIn("match_found", kinds(line.heard()))
            self.assertFalse(line.is_closed)
        world.fleet.end(0, "crashed")
        for line in lines:
            said = line.heard()
            self.assertEqual(kinds(said), ["match_ended"])
            self.assertEqual(said[0]["data"]["reason"], "crashed")
