"""The admin API, from the bytes of a request to what services did."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import ask
from tests.support.lobbies import LobbyWorld
from tests.support.logged import watch_log
from vinom.errors import Code, Misconfigured, Refused, StoreUnavailable
from vinom.lobby.matches.outside import OutsideMatches
from vinom.net.web.answers import BODY_LIMIT, Asked, Folder
from vinom.net.web.guards import Guarded, checked_token
from vinom.node.web.admin import admin_pages

TOKEN = b"correct-horse-battery"


class MemoryOperations:
    """A node that only records calls."""

    def __init__(self) -> None:
        self.drains = self.moves = 0
        self.why_not = ""

    async def status(self) -> dict[str, Any]:
        return {"state": "serving"}

    def drain(self) -> None:
        self.drains += 1

    async def move(self) -> None:
        if self.why_not:
            raise Refused(Code.UNAVAILABLE, self.why_not)
        self.moves += 1


class MemoryKeys:
    """Keys that only remember."""

    def __init__(self) -> None:
        self.rotated: list[str] = []

    def known(self) -> list[dict[str, Any]]:
        return [{"id": "abc", "kind": "token", "state": "active"}]

    def rotate(self, kind: Any) -> Deferred[dict[str, Any]]:
        if kind == "ca":
            return fail(Refused(Code.UNAVAILABLE, "the authority is configured"))
        self.rotated.append(kind)
        return succeed({"kind": kind, "id": "def"})


class AdminTests(SynchronousTestCase):
    """What operators and outside matchmakers ask."""

    def setUp(self) -> None:
        self.world = world = LobbyWorld()
        self.operations, self.keys = MemoryOperations(), MemoryKeys()
        outside = OutsideMatches(
            world.matches, world.identity, world.games, world.entropy
        )
        self.pages = Folder(
            v1=admin_pages(
                self.operations.status,
                self.operations,
                world.matches,
                world.matchmaker,
                outside,
                self.keys,
                world.rooms,
            )
        )

    def start(self, *names: str) -> Any:
        players = [{"name": name} for name in names]
        wish = {"game": "party", "players": players, "options": {"size": 3}}
        return ask(self.pages, "POST", "/v1/matches", wish)

    def test_rooms(self) -> None:
        """
        Operators list rooms, remove a player from one, and end one.
        """
        line, welcome = self.world.hello("ann")
        line.ask("join_room", game="party", room_id="r1")
        answer = ask(self.pages, "GET", "/v1/rooms")
        self.assertEqual([r["room_id"] for r in answer.json["rooms"]], ["r1"])
        kick = {"player_id": welcome["player_id"]}
        self.assertEqual(ask(self.pages, "POST", "/v1/rooms/r1/kick", kick).status, 200)
        self.assertEqual(line.heard()[-1]["type"], "kicked")
        self.assertEqual(ask(self.pages, "POST", "/v1/rooms/r1/kick", kick).status, 404)
        self.assertEqual(ask(self.pages, "POST", "/v1/rooms/r1/end").status, 200)
        self.assertEqual(ask(self.pages, "POST", "/v1/rooms/r1/end").status, 404)
        for page in ("", "/asleep", "/of/ann"):
            answer = ask(self.pages, "GET", f"/v1/rooms{page}")
            self.assertEqual(answer.json, {"rooms": []})

    def test_status(self) -> None:
        """
        The status is what the node is doing.
        """
        answer = ask(self.pages, "GET", "/v1/status")
        self.assertEqual((answer.status, answer.json), (200, {"state": "serving"}))
        self.assertEqual(answer.headers["content-type"], "application/json")

    def test_keys(self) -> None:
        """
        Keys are listed and rotated; a refusal has a reason.
        """
        answer = ask(self.pages, "GET", "/v1/keys")
        self.assertEqual(answer.json, {"keys": self.keys.known()})
        answer = ask(self.pages, "POST", "/v1/keys/rotate", {"kind": "token"})
        self.assertEqual(answer.json, {"kind": "token", "id": "def"})
        self.assertEqual(self.keys.rotated, ["token"])
        answer = ask(self.pages, "POST", "/v1/keys/rotate", {"kind": "ca"})
        self.assertEqual(
            (answer.status, answer.json["error"]["message"]),
            (503, "the authority is configured"),
        )
        answer = ask(self.pages, "POST", "/v1/keys/rotate", {"kind": "door"})
        self.assertEqual(answer.json["error"]["details"], {"field": "kind"})
        self.assertEqual(ask(self.pages, "POST", "/v1/keys").status, 405)
        self.assertEqual(ask(self.pages, "GET", "/v1/keys/rotate").status, 405)
        self.assertEqual(ask(self.pages, "GET", "/v1/keys/other").status, 404)

    def test_outside_match(self) -> None:
        """
        An outside matchmaker gets a place and a token for every player.
        """
        answer = self.start("ann", "bob")
        self.assertEqual(answer.status, 200)
        seats = answer.json["seats"]
        self.assertEqual([seat["match_found"]["seat"] for seat in seats], [0, 1])
        for seat in seats:
            claims = self.world.verifier.verify(
                seat["match_found"]["token"], self.world.clock.seconds()
            )
            self.assertEqual(claims.player_id, seat["player_id"])
        (match,) = ask(self.pages, "GET", "/v1/matches").json["matches"]
        self.assertEqual(match["match_id"], answer.json["match_id"])

    def test_outside_player_finds_its_match_again(self) -> None:
        """
        The key an outside matchmaker hands on opens the lobby's door back.
        """
        seats = self.start("ann", "bob").json["seats"]
        _, said = self.world.back(seats[0]["player_key"])
        self.assertEqual(said[0]["type"], "match_found")

    def test_wrong_wishes(self) -> None:
        """
        A request that is impossible is refused with the lobby's codes and the field.
        """
        for wish, status, code, field in (
            (b"{", 400, "bad_message", None),
            (
                {"game": "chess", "players": [{"name": "a"}]},
                404,
                "unknown_game",
                "game",
            ),
            ({"game": "party", "players": []}, 400, "bad_field", "players"),
            ({"game": "party"}, 400, "bad_field", "players"),
            (
                {"game": "party", "players": [{"name": "a"}, {"name": 1}]},
                400,
                "bad_field",
                "players[1].name",
            ),
            (
                {
                    "game": "party",
                    "players": [{"name": "a"}, {"name": "b"}],
                    "options": {"size": "x"},
                },
                400,
                "bad_options",
                "options.size",
            ),
            (
                {"game": "party", "players": [{"name": "a"}, {"name": ""}]},
                400,
                "name_refused",
                "players[1].name",
            ),
            *(
                (
                    {
                        "game": "party",
                        "players": [{"name": "a"}, {"name": "b", "player_id": wrong}],
                    },
                    400,
                    "bad_field",
                    "players[1].player_id",
                )
                for wrong in ("\x1b[31m\nm9  maze", "a b", "..", ".", "\u00e9", "")
            ),
            (
                {
                    "game": "party",
                    "players": [{"name": "a"}, {"name": "b", "loadout": {"hat": 1}}],
                },
                400,
                "bad_loadout",
                "players[1].loadout.hat",
            ),
        ):
            answer = ask(self.pages, "POST", "/v1/matches", wish)
            error = answer.json["error"]
            self.assertEqual((answer.status, error["code"]), (status, code))
            if field is not None:
                self.assertEqual(error["details"]["field"], field)

    def test_kick_and_end(self) -> None:
        """
        A player can be removed, and a match ended, and the log says that an
        operator did it; what is unknown is 404.
        """
        logged = watch_log(self)
        started = self.start("ann", "bob").json
        match, player = started["match_id"], started["seats"][0]["player_id"]
        kick = f"/v1/matches/{match}/kick"
        answer = ask(self.pages, "POST", kick, {"player_id": player})
        self.assertEqual(answer.status, 200, answer.body)
        answer = ask(self.pages, "POST", kick, {"player_id": "nobody"})
        self.assertEqual(
            (answer.status, answer.json["error"]["code"]), (404, "no_such_player")
        )
        answer = ask(self.pages, "POST", kick, {})
        self.assertEqual(answer.json["error"]["details"], {"field": "player_id"})
        self.assertEqual(
            ask(self.pages, "POST", f"/v1/matches/{match}/end").status, 200
        )
        self.assertEqual(ask(self.pages, "POST", "/v1/matches/none/end").status, 404)
        self.assertEqual(
            [said for said in logged if said.startswith("an operator")],
            [
                f"an operator removed player {player} from match {match}",
                f"an operator ended match {match}",
            ],
        )

    def test_explain(self) -> None:
        """
        An operator learns what a waiting player waits for.
        """
        _, welcome = self.world.queued("ann")
        answer = ask(self.pages, "GET", f"/v1/explain/{welcome['player_id']}")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.json["connected"])
        self.assertEqual(ask(self.pages, "GET", "/v1/explain/nobody").status, 404)

    def test_drain(self) -> None:
        """
        Draining is asked for with POST, and by nothing that merely looks.
        """
        answer = ask(self.pages, "GET", "/v1/drain")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
        self.assertEqual(self.operations.drains, 0)
        self.assertEqual(ask(self.pages, "POST", "/v1/drain").status, 200)
        self.assertEqual(self.operations.drains, 1)

    def test_move(self) -> None:
        """
        Rooms are moved only if that is asked for; who asks learns why it cannot be.
        """
        for body, drains, moves in (
            (b'{"move": true}', 0, 1),
            (b'{"move": false}', 1, 1),
            (b"{}", 2, 1),
        ):
            self.assertEqual(ask(self.pages, "POST", "/v1/drain", body).status, 200)
            found = (self.operations.drains, self.operations.moves)
            self.assertEqual(found, (drains, moves))
        for body in (b'{"move": 1}', b'{"moves": true}', b"nonsense"):
            self.assertEqual(ask(self.pages, "POST", "/v1/drain", body).status, 400)
        self.operations.why_not = "no other node has a lease"
        answer = ask(self.pages, "POST", "/v1/drain", b'{"move": true}')
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json["error"]["message"], "no other node has a lease")

    def test_nothing_else(self) -> None:
        """
        Any other path is 404, in JSON, with any characters.
        """
        for path in (
            "/",
            "/v1",
            "/v1/",
            "/v1/x",
            "/v1/status/x",
            "/v1/matches/m",
            "/v1/matches/m/x",
            "/v1/matches/%ff/end",
            "/v1/explain",
            f"/v1/explain/{'x' * 65}",
        ):
            answer = ask(self.pages, "GET", path)
            self.assertEqual(answer.status, 404, path)
            self.assertIn("error", answer.json)

    def test_body_has_a_limit(self) -> None:
        """
        A long request cannot fill the node's memory, and gets a refusal.
        """
        body = b" " * (BODY_LIMIT + 1)
        answer = ask(self.pages, "POST", "/v1/matches", body)
        self.assertEqual(answer.status, 413)
        error = answer.json["error"]
        self.assertEqual(error["code"], "too_long")
        self.assertEqual(error["details"], {"limit": BODY_LIMIT})
        self.assertEqual(self.world.matches.describe(), [])
        endless = ask(self.pages, "POST", "/v1/matches", body * 20)
        self.assertTrue(endless.transport.disconnected)
        self.assertFalse(endless.is_answered)

    def test_hanging_up_cancels(self) -> None:
        """
        A client that does not wait for its answer withdraws its request.
        """
        cancelled: list[Any] = []
        waiting: Deferred[Any] = Deferred(cancelled.append)

        async def wait(body: bytes) -> Any:
            return await waiting

        asked = ask(Folder(x=Asked("POST", wait)), "POST", "/x")
        self.assertFalse(asked.is_answered)
        asked.hang_up()
        self.assertEqual(cancelled, [waiting])

    def test_storage_away(self) -> None:
        """
        While storage does not answer, the API answers so, and to try again.
        """

        async def broken(body: bytes) -> Any:
            return await fail(StoreUnavailable("away"))

        answer = ask(Folder(x=Asked("GET", broken)), "GET", "/x")
        self.assertEqual(
            (answer.status, answer.json["error"]["code"]), (503, "store_unavailable")
        )

    def test_our_mistake(self) -> None:
        """
        A mistake of ours is 500 without details, and whole in the log.
        """

        def broken(body: bytes) -> Any:
            raise ZeroDivisionError("secret")

        answer = ask(Folder(x=Asked("GET", broken)), "GET", "/x")
        self.assertEqual(answer.status, 500)
        self.assertNotIn(b"secret", answer.transport.value())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class BearerTests(SynchronousTestCase):
    """Over TCP only who has the token gets in."""

    def setUp(self) -> None:
        status = Asked("GET", lambda body: {"state": "serving"})
        self.pages = Guarded(Folder(status=status), TOKEN)

    def test_token(self) -> None:
        """
        The right token opens, however the word before it is written.
        """
        for scheme in ("Bearer", "bearer"):
            header = f"{scheme} {TOKEN.decode()}"
            answer = ask(self.pages, "GET", "/status", authorization=header)
            self.assertEqual(answer.status, 200)

    def test_anything_else(self) -> None:
        """
        A missing, wrong, cut or differently sent token is refused alike.
        """
        token = TOKEN.decode()
        bodies = set()
        for headers in (
            {},
            {"authorization": "Bearer"},
            {"authorization": f"Bearer {token[:-1]}"},
            {"authorization": f"Bearer {token}x"},
            {"authorization": f"Basic {token}"},
            {"authorization": token},
            {"authorization": f"Bearer {token} x"},
        ):
            for path in ("/status", "/", "/nothing"):
                answer = ask(self.pages, "GET", path, **headers)
                if path == "/":
                    self.assertIn(answer.status, (401, 404))
                    continue
                self.assertEqual(answer.status, 401, headers)
                self.assertEqual(answer.headers["www-authenticate"], "Bearer")
                bodies.add(answer.body)
        self.assertEqual(len(bodies), 1)

    def test_token_file(self) -> None:
        """
        A token that could be guessed is refused at the start.
        """
        self.assertEqual(checked_token(b" correct-horse-battery\n", "t"), TOKEN)
        for text in (b"", b"short", b"two words that are long"):
            self.assertRaises(Misconfigured, checked_token, text, "t")
