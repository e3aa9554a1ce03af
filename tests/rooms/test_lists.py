"""The list of matches, as players who watch it are sent it."""

from __future__ import annotations

from typing import Any

from tests.rooms.test_matches import CrossTests, of
from vinom.base.model import MatchEnd
from vinom.fleet.control.messages import RoomEnded


class MatchListTests(CrossTests):
    def watch(self, name: str = "eve", **wish: Any) -> Any:
        """A player watches the list; what it was sent is taken."""
        line, _ = self.world.hello(name, ends_at_match=False)
        (listed,) = of(
            line.ask("list_rooms", matches=True, watch=True, **wish), "rooms"
        )
        self.assertEqual(
            [self.match_id], [one["room_id"] for one in listed["rooms"]], wish
        )
        return line

    def news(self, line: Any) -> list[tuple[list[Any], list[str]]]:
        """What a line was sent of the list: matches with their states, and ids."""
        self.world.run(1.1)
        return [
            ([(one["room_id"], one["state"]) for one in said["changed"]], said["gone"])
            for said in of(line.heard(), "match_list_update")
        ]

    def end(self) -> None:
        """The game process dies."""
        self.world.net.server.matches.report(RoomEnded(MatchEnd(self.match_id, "lost")))
        self.world.run()

    def test_changes(self) -> None:
        """
        A player who watches is sent what changed, once per second at most, and what is
        over; without a change nothing is sent.
        """
        eve = self.watch()
        self.assertEqual([], self.news(eve))
        self.begin()
        self.assertEqual([([(self.match_id, "playing")], [])], self.news(eve))
        self.assertEqual([], self.news(eve))
        self.end()
        self.assertEqual([([], [self.match_id])], self.news(eve))

    def test_no_more(self) -> None:
        """
        A player who stopped watching, or is gone, is sent nothing; then nothing looks.
        """
        eve, dan = self.watch(), self.watch("dan")
        eve.ask("list_rooms", matches=True, watch=False)
        dan.hang_up()
        self.begin()
        self.assertEqual([], self.news(eve))
        watchers = self.world.rooms.directory.match_list._watchers
        self.assertFalse(watchers._next.is_running)

    def test_what_was_asked(self) -> None:
        """
        A player who asked for matches in one state is sent that one is gone when it is
        in another; one who asked for those of another game is not sent it.
        """
        eve = self.watch(state="gathering")
        other, _ = self.world.hello("dan", ends_at_match=False)
        other.ask("list_rooms", matches=True, watch=True, game="ticking")
        self.begin()
        self.assertEqual([([], [self.match_id])], self.news(eve))
        self.assertEqual([], self.news(other))

    def test_many_wishes(self) -> None:
        """
        However many of the first are requested, one look per second finds them all.
        """
        watchers = [self.watch(f"eve{limit}", limit=limit) for limit in (1, 2, 50, 100)]
        match_list = self.world.rooms.directory.match_list
        looks: list[Any] = []
        look = match_list._look

        def count(asked: Any) -> Any:
            looks.append(asked)
            return look(asked)

        self.patch(match_list, "_look", count)
        self.begin()
        for line in watchers:
            self.assertEqual([([(self.match_id, "playing")], [])], self.news(line))
        # As many as seconds passed meanwhile.
        self.assertEqual(4, len(looks))

    def test_lists_apart(self) -> None:
        """
        The list of rooms and that of matches are watched apart.
        """
        eve = self.watch()
        eve.ask("list_rooms", watch=True)
        eve.ask("list_rooms", watch=False)
        self.begin()
        self.assertEqual([([(self.match_id, "playing")], [])], self.news(eve))

    def test_slow_watcher(self) -> None:
        """
        A slow reader is sent each change once, as it is by then; others do not wait.
        """
        eve, dan = self.watch(), self.watch("dan")
        eve.is_behind = True
        self.begin()
        self.assertEqual([], self.news(eve))
        self.assertEqual([([(self.match_id, "playing")], [])], self.news(dan))
        self.end()
        self.assertEqual([], self.news(eve))
        eve.is_behind = False
        self.assertEqual([([], [self.match_id])], self.news(eve))
