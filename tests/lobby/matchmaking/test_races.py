"""Nodes that act on the same players at once, with answers of storage in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.races import Choose, TwoNodes, interleavings
from vinom.base.messages.parties import (
    JoinParty,
    KickFromParty,
    LeaveParty,
)

#: Port calls of the two together whose order is tried in all ways.
DEPTH = 8

#: What is begun, or happens, and where; see `do`.
Steps = tuple[str, ...]

TWO_WAIT: Steps = ("queue 0 ann", "queue 1 bob")
THREE_WAIT: Steps = (*TWO_WAIT, "queue 1 cat")
ASKED: Steps = (*TWO_WAIT, "wait 0")
PAIR: Steps = ("form 0 ann bob",)


@attrs.frozen
class Race:
    """
    Two who act at once.

    :ivar what: what must come of it, besides that nothing is wrong.
    :ivar before: what happens first.
    :ivar both: what races.
    :ivar after: facts about the end, see `facts`.
    """

    name: str
    what: str
    before: Steps
    both: Steps
    after: dict[str, Any] = attrs.field(factory=dict)
    accept_seconds: float = 10.0


RACES = (
    Race(
        "same_entries",
        "Two nodes that find the same table start one match, not two.",
        THREE_WAIT,
        ("look 0", "look 1"),
        {"hosted": 1},
        accept_seconds=0.0,
    ),
    Race(
        "same_entries_asked",
        "Two nodes that find the same table ask its players once.",
        THREE_WAIT,
        ("look 0", "look 1"),
        {"asked": 1},
    ),
    Race(
        "last_two_accept",
        "When the last two accept at once on two nodes, one of these makes the match.",
        ASKED,
        ("yes 0 ann", "yes 1 bob"),
        {"hosted": 1},
    ),
    Race(
        "accept_and_decline",
        "A yes and a no at once: no match, and the decliner waits no longer.",
        ASKED,
        ("yes 0 ann", "no 1 bob"),
        {"hosted": 0, "waiting": ["ann"]},
    ),
    Race(
        "cancel_and_match",
        "A player who cancels while a match is found is in neither, or in the match.",
        TWO_WAIT,
        ("look 1", "cancel 0 ann"),
        accept_seconds=0.0,
    ),
    Race(
        "accept_and_cancel",
        "The last yes, and a player who accepted before and cancels.",
        (*ASKED, "yes 0 ann"),
        ("yes 1 bob", "cancel 0 ann"),
    ),
    Race(
        "queue_twice",
        "A player who asks for two games at once, on two nodes, waits for one.",
        (),
        ("queue 0 ann duel", "queue 1 ann party"),
    ),
    Race(
        "queue_while_playing",
        "A player who is in a match and asks for another one waits for none, though"
        " another node finds somebody for it at that moment.",
        (*ASKED, "yes 0 ann", "yes 1 bob", "wait 0", "queue 1 cat", "wait 0"),
        ("queue 0 ann", "look 1"),
        {"hosted": 1},
    ),
    Race(
        "host_queues_twice",
        "A party whose host queues on two nodes at once waits once.",
        PAIR,
        ("queue 0 ann squad", "queue 1 ann party"),
    ),
    Race(
        "queue_and_leave",
        "The host queues while a member leaves: nobody waits who is not in the party.",
        PAIR,
        ("queue 0 ann squad", "leave 1 bob"),
    ),
    Race(
        "queue_and_kick",
        "The host queues and removes a member at once.",
        PAIR,
        ("queue 0 ann squad", "kick 1 ann bob"),
    ),
    Race(
        "queue_and_join",
        "The host queues while somebody comes in: all members wait, or nobody.",
        PAIR,
        ("queue 0 ann squad", "join 1 cat 0"),
    ),
    Race(
        "join_and_queue_alone",
        "A player who joins a party and queues alone at once is not in two entries.",
        PAIR,
        ("queue 0 cat squad", "join 1 cat 0"),
    ),
    Race(
        "two_parties",
        "A player who joins two parties at once is in one.",
        ("form 0 ann", "form 1 bob"),
        ("join 0 cat 0", "join 1 cat 1"),
        {"members": ["ann", "bob", "cat"]},
    ),
    Race(
        "join_twice",
        "A player who joins the same party on two nodes at once is in it once.",
        ("form 0 ann",),
        ("join 0 cat 0", "join 1 cat 0"),
        {"members": ["ann", "cat"]},
    ),
    Race(
        "leave_and_accept",
        "A member leaves its party while another gives the last yes.",
        (*PAIR, "queue 0 ann duel", "wait 0", "yes 0 ann"),
        ("yes 1 bob", "leave 0 ann"),
    ),
    Race(
        "everybody_leaves",
        "When all leave at once no party is left.",
        PAIR,
        ("leave 0 ann", "leave 1 bob"),
        {"members": []},
    ),
)


def do(world: TwoNodes, step: str) -> None:
    """Have something happen at a node."""
    match step.split():
        case ["wait", seconds]:
            world.clock.advance(float(seconds))
        case ["look", node]:
            world.look(int(node))
        case ["queue", node, player, *game]:
            world.queue(int(node), player, *game)
        case ["yes" | "no" as said, node, player]:
            world.answer(int(node), player, said == "yes")
        case ["cancel", node, player]:
            world.cancel(int(node), player)
        case ["form", node, *players]:
            world.form(int(node), *players)
        case ["join", node, player, number]:
            world.ask(int(node), player, JoinParty(world.formed[int(number)]))
        case ["leave", node, player]:
            world.ask(int(node), player, LeaveParty())
        case ["kick", node, host, player]:
            world.ask(int(node), host, KickFromParty(player))
        case _:
            raise ValueError(step)


def facts(world: TwoNodes) -> dict[str, Any]:
    """Tell how it ended: matches, prematches, who waits, and who is in a party."""
    state = world.store.state
    return {
        "hosted": sum(len(node.fleet.hosted) for node in world.nodes),
        "asked": len(state.prematches),
        "waiting": [one.name for e in state.entries.values() for one in e.players],
        "members": sorted(one for p in state.parties.values() for one in p.player_ids),
    }


class PairTests(SynchronousTestCase):
    """Two who act at once: every order of their first eight port calls."""

    def race(self, race: Race, check: Callable[[dict[str, Any]], bool]) -> None:
        """Race in all orders; the facts about each end must please *check*."""

        def once(choose: Choose) -> None:
            world = TwoNodes(race.accept_seconds)
            for step in race.before:
                do(world, step)
            world.gate.is_open = False
            for step in race.both:
                do(world, step)
            world.race(choose)
            self.assertEqual(list(world.problems()), [])
            found = facts(world)
            self.assertTrue(check(found), found)

        self.assertGreater(interleavings(DEPTH, once), 3)

    def test_accept_in_the_last_moment(self) -> None:
        """
        The last yes, and the end of the time: a match, or all wait again.
        """
        race = Race(
            "",
            "",
            (*ASKED, "yes 0 ann", "wait 9.999"),
            ("yes 1 bob", "wait 0.01"),
        )
        # One who was too late is out; one who was in time never is.
        self.race(race, lambda end: end["hosted"] == 1 or "ann" in end["waiting"])


def _add(race: Race) -> None:
    """Give a race a test of its own."""

    def test(self: PairTests) -> None:
        self.race(race, lambda end: end | race.after == end)

    test.__doc__, test.__name__ = race.what, f"test_{race.name}"
    setattr(PairTests, test.__name__, test)


for _race in RACES:
    _add(_race)
