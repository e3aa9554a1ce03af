"""
Test whether a game follows the rules for games.

It is played with random actions, and every call is made twice. The game must be pure,
its states frozen and storable, it must end, its recording must replay, nothing may
leak, and it must not wait for players who have left. Nothing here depends on clocks or
on the order of sets in this process, so two processes that trace one game must agree.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import attrs

from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import Misconfigured, Refused
from vinom.game import Chance, Game
from vinom.play.choices import seats_for
from vinom.play.guard import Guard, TooSlow
from vinom.play.play import GAME_ERRORS, GameFault, table_of
from vinom.tools.check.line import TRIES, Finding, Impure, Line, Trial, drawn_json
from vinom.tools.check.random_actions import RandomActions

__all__ = ["Finding", "Trial", "first_disagreement", "try_game"]

#: Most steps of one trial game.
MOST_STEPS = 3000
#: Most states of one trial game whose views are searched for leaks.
MOST_SEARCHED = 12
#: Most steps of a line on which players leave or join, or nobody acts.
MOST_SIDE_STEPS = 60
#: The steps of a trial after which those lines begin are drawn below these.
FORKS = (4, 12, 30)
#: How often all players act at the same time, on a line of its own.
MOST_AT_ONCE = 8
#: Deadlines that pass while a game waits for a player who left: these are too many.
MOST_WAITS = 2
#: Most actions that players who left are imagined to make, to see who waits for them.
MOST_AS_IF = 20
#: A trial whose time is over plays at least this many steps.
FEWEST_STEPS = 40
#: A longer view needs several datagrams, bytes.
ONE_DATAGRAM = 1100


def try_game(
    game: Game[Any, Any],
    name: str,
    seats: int,
    seed: int,
    guard: Guard | None = None,
    is_drawn: bool = False,
    is_over: Callable[[], bool] = lambda: False,
    most_steps: float = math.inf,
) -> Trial:
    """
    Play one game of *seats* players against random actions.

    :param name: of the game.
    :param seats: number of players, if the options allow as many.
    :param seed: up to 256 bits; the same seed makes the same trial, in any process.
    :param guard: interrupts calls that take too long; each is made twice.
    :param is_drawn: draw the options and loadouts from their types; otherwise they are
        the defaults.
    :param is_over: asked after some steps; then the trial is cut short.
    :param most_steps: of the whole trial; then it is cut short, too.
    """
    trial = Trial()
    options = b"{}"
    if is_drawn:
        options = drawn_json(RandomActions(game.options, Chance(seed).fork("options")))
    seats = _seats(game, seats, options)
    loadouts = [b"{}"] * seats
    players = [SeatPlan(f"p{seat}", f"player {seat}") for seat in range(seats)]
    if is_drawn:
        players = _drawn_players(game, players, Chance(seed).fork("players"))
        supply = RandomActions(game.loadout, Chance(seed).fork("loadouts"))
        loadouts = [drawn_json(supply) for _ in range(seats)]
    brought = tuple(
        attrs.evolve(player, loadout=loadout)
        for player, loadout in zip(players, loadouts, strict=True)
    )
    plan = MatchPlan("check", name, brought, seed, options)
    try:
        table_of(plan, game)
    except Refused:
        if is_drawn:
            # What was drawn is not a choice that players can make.
            players = players[: _seats(game, seats, b"{}")]
            plan = MatchPlan("check", name, tuple(players), seed)
    trial.options = plan.options.decode()
    line = Line(game, plan, seed, trial, guard or Guard())
    _Player(line, is_over, most_steps).play()
    trial.steps, trial.seen = len(trial.trace), line.search.seen.rows()
    return trial


def _seats(game: Game[Any, Any], seats: int, options: bytes) -> int:
    """Choose the number of players that is nearest, and possible with the options."""
    try:
        fewest, most = seats_for(game, options)
    except Refused:
        return seats
    return min(max(seats, fewest), most)


def _drawn_players(
    game: Game[Any, Any], players: Sequence[SeatPlan], chance: Chance
) -> list[SeatPlan]:
    """Let bots, who have no id, take some seats, and a host choose some teams."""
    has_bot = type(game).bot is not Game.bot
    drawn = []
    for seat, player in enumerate(players):
        kind, chance = chance.below(4)
        if has_bot and not kind:
            player = SeatPlan("", f"bot {seat + 1}")
        is_chosen, chance = chance.below(2)
        if game.teams and is_chosen:
            team, chance = chance.below(game.teams)
            player = attrs.evolve(player, team=team)
        drawn.append(player)
    return drawn


class _Player:
    """Plays one trial game: its main line, and lines that branch off."""

    def __init__(
        self, line: Line, is_over: Callable[[], bool], most_steps: float
    ) -> None:
        """
        :param line: the main line.
        :param is_over: see `try_game`.
        :param most_steps: see `try_game`.
        """
        self._line, self._trial = line, line.trial
        self._is_over, self._most_steps = is_over, most_steps
        self._steps = 0
        game = line.game
        # Long enough for fewer than MOST_STEPS of them to reach the time limit: half
        # of it is the average, and in one step of four no time passes.
        self._pace = 3 * game.time_limit / MOST_STEPS
        self._is_endless = type(game).outcome is Game.outcome

    def play(self) -> None:
        """Play to the end, then replay the recording."""
        line, trial = self._line, self._trial
        try:
            line.play.lay(table_of(line.plan, line.game))
            line.play.begin()
            line.show()
            self._run()
            line.finish()
        except GAME_ERRORS as error:
            self._report(error, line)
        if line.longest > ONE_DATAGRAM:
            trial.note(f"a view of {line.longest} bytes needs more than one datagram")

    def _report(self, error: BaseException, line: Line, what: str = "") -> None:
        """Make an error a finding."""
        match error:
            case Impure():
                self._trial.found("pure", str(error))
            case Misconfigured():
                self._trial.found("state", str(error))
            case Refused():
                why = f"the default options are refused: {error.message}"
                self._trial.found("fault", why)
            case _:
                message = f"{error}{_line_of(error)}"
                if not isinstance(error, GameFault):
                    message = f"{type(error).__qualname__}: {message}"
                when = f"{what}at {line.play.time:.3f} s, version {line.play.version}"
                self._trial.found("fault", message, when)

    @contextmanager
    def _beside(self, number: int, what: str = "") -> Iterator[Line]:
        """
        Play on a line that branches off; the main one goes on, whatever a game raises.

        :param number: of the line.
        :param what: what happens on it, for a finding; by default who left.
        """
        branch = self._line.fork(number)
        try:
            yield branch
        except TooSlow:
            # Each further line would wait, too.
            raise
        except GAME_ERRORS as error:
            gone = ", ".join(map(str, branch.gone))
            left = f"seat{'s' if branch.gone[1:] else ''} {gone} left, "
            self._report(error, branch, what or left)

    def _is_cut(self) -> bool:
        """Count a step; is that enough?"""
        self._steps += 1
        if self._steps >= self._most_steps or (
            self._steps >= FEWEST_STEPS and self._is_over()
        ):
            self._trial.is_cut = True
        return self._trial.is_cut

    def _run(self) -> None:
        line = self._line
        play, game = line.play, line.game
        forks = [line.below(most) for most in FORKS]
        most = MOST_STEPS // 10 if self._is_endless else MOST_STEPS
        for step in range(most):
            for number, at in enumerate(forks):
                if at == step:
                    self._branch(number)
            # A room is over when its game has given up all seats.
            if play.outcome is not None or self._is_cut() or not line.present:
                break
            if play.time >= game.time_limit and not self._is_endless:
                self._no_end(f"{step} random steps and {play.time:.0f} s")
                break
            self._one_step(line, self._pace)
            line.show()
            self._probe(step)
            if step % (1 + MOST_STEPS // (20 * MOST_SEARCHED)) == 0:
                line.look_for_leaks()
        else:
            if self._is_endless:
                self._trial.note("it has no outcome(): its time limit ends it")
            else:
                self._no_end(f"{most} random steps")
        line.look_for_leaks()
        if play.outcome is not None:
            self._note_linger(line)
        # Actions after the end must not break it.
        for _ in range(20):
            if self._is_cut():
                break
            self._one_step(line, 0.01)
            line.show()

    def _no_end(self, after: str) -> None:
        play, limit = self._line.play, self._line.game.time_limit
        options = self._trial.options
        if options == "{}":
            message = f"no outcome after {after}; add a deadline() that ends it"
            self._trial.found("ends", message, f"at {play.time:.0f} s")
        elif play.time >= limit:
            self._trial.note(
                f"with the options {options} its time limit of {limit:g} s ends it "
                f"without an outcome"
            )

    def _note_linger(self, line: Line) -> None:
        play, linger = line.play, line.game.linger
        if play.due is not None and play.due > play.time + linger:
            self._trial.note(
                f"the room closes {linger:g} s after a round, before the next "
                f"deadline(); for another round set a longer linger"
            )

    def _one_step(self, line: Line, pace: float) -> None:
        play, game = line.play, line.game
        # Sometimes several things happen at the same time.
        time = play.time + (pace * line.below(100) / 100 if line.below(4) else 0.0)
        if game.tick_hz:
            time = (play.ticks + 1) / game.tick_hz
        if play.due is not None and play.due <= time:
            line.advance()
            return
        seat = line.below(len(line.plan.seats))
        if line.below(30) == 0:
            if seat in line.away:
                line.come_back(seat, time)
            elif seat not in line.gone and len(line.present) > 1:
                line.drop(seat, time)
            return
        action = line.choose(seat) if seat in line.present else None
        if game.tick_hz:
            line.tick(() if action is None else ((seat, action),))
        elif action is not None:
            line.act(seat, action, time)
        else:
            play.time = time

    # What happens beside the main line.

    def _probe(self, step: int) -> None:
        """Let a player drop and return, leave, or join; but on a line of its own."""
        line = self._line
        if not line.present:
            return
        seat = line.pick(line.present)
        kind = type(line.game)
        # A call that the game doesn't have changes nothing.
        comes_back = kind.dropped is not Game.dropped
        comes_back |= kind.returned is not Game.returned
        if comes_back and line.present[1:]:
            with self._beside(1, f"seat {seat} lost its connection, ") as branch:
                time = branch.play.time
                branch.drop(seat, time)
                branch.come_back(seat, time)
        if step % 3 == 0 and kind.left is not Game.left and line.present[1:]:
            with self._beside(2) as branch:
                branch.leave(seat, branch.play.time)
                branch.show()
        if step % 7 == 0 and line.game.late_join:
            with self._beside(3, "a newcomer joined, ") as branch:
                if branch.join(branch.play.time):
                    branch.show()

    def _branch(self, number: int) -> None:
        """Play on from here: with players who left or joined, or nobody who acts."""
        line = self._line
        if line.play.outcome is not None:
            return
        if number != 1:
            with self._beside(10 + number, "nobody acted, ") as branch:
                self._run_silent(branch)
        if number == 0:
            with self._beside(30, "all acted at once, ") as branch:
                self._run_at_once(branch)
        if len(line.present) < 2:
            return
        with self._beside(20 + number) as branch:
            leavers = self._leavers(branch, number)
            time = branch.play.time
            for seat in sorted(branch.away):
                branch.come_back(seat, time)
            if number == 2 and line.game.late_join:
                branch.join(time)
            for seat in leavers:
                branch.leave(seat, time)
                branch.show()
            self._run_side(branch)
            if number == 2 and line.game.late_join and branch.join(branch.play.time):
                self._run_side(branch)
            branch.look_for_leaks()
            branch.finish()

    def _leavers(self, line: Line, number: int) -> list[int]:
        """Choose who leaves: a player who can act now, all but one, or anybody."""
        present = line.present
        first = line.pick(present)
        if number == 0 and not line.game.tick_hz:
            first = next((seat for seat in present if line.can_act(seat)), first)
        if number != 1:
            return [first]
        others = [seat for seat in present if seat != first]
        # The one who stays is not always the last one.
        stays = line.pick(others)
        return [first, *(seat for seat in others if seat != stays)]

    def _run_silent(self, line: Line) -> None:
        """Let nobody act, until the round or the match is over."""
        play, game = line.play, line.game
        for _ in range(MOST_SIDE_STEPS):
            if play.outcome is not None or self._is_cut():
                return
            if game.tick_hz and (play.due is None or play.due > play.next_tick()):  # type: ignore[operator]
                line.tick(())
            elif play.due is None or play.due > game.time_limit:
                # The room closes first.
                play.time = max(play.time, game.time_limit)
                line.show()
                return
            else:
                line.advance()
            line.show()

    def _run_at_once(self, line: Line) -> None:
        """Let all players act at the same time, then let their deadlines pass."""
        play = line.play
        for _ in range(MOST_AT_ONCE):
            if play.outcome is not None or self._is_cut():
                return
            if line.game.tick_hz:
                chosen = [(seat, line.choose(seat)) for seat in line.present]
                line.tick(tuple(one for one in chosen if one[1] is not None))
            for seat in line.present if not line.game.tick_hz else ():
                self._acts(line, (seat,))
            for _ in line.plan.seats:
                if play.due is not None:
                    line.advance()
            line.show()

    def _run_side(self, line: Line) -> None:
        """Play on without those who left; find out whether play waits for them."""
        play, game = line.play, line.game
        waits: dict[int, int] = {}
        for _ in range(MOST_SIDE_STEPS):
            if play.outcome is not None or play.time >= game.time_limit:
                return
            if self._is_cut():
                return
            if game.tick_hz:
                self._one_step(line, 0.0)
            elif play.due is not None and line.below(8) == 0:
                line.advance()
            elif not self._someone_acts(line):
                missed = self._missed(line)
                if missed is not None:
                    waits[missed] = waits.get(missed, 0) + 1
                if missed is not None and play.due is None:
                    self._waits(missed, "forever", "and no deadline() ends that")
                    return
                if missed is not None and waits[missed] >= MOST_WAITS:
                    self._waits(missed, "again and again", "each time for its deadline")
                    return
                if play.due is None:
                    return
                line.advance()
            line.show()

    def _waits(self, seat: int, how: str, until: str) -> None:
        self._trial.found(
            "left",
            f"after seat {seat} left, play waits for it {how}, {until}; skip it in "
            f"left() and in later turns, or end the round",
        )

    def _someone_acts(self, line: Line) -> bool:
        """Let a present player act, if one can."""
        seats = line.present
        first = line.below(len(seats)) if seats else 0
        return self._acts(line, (*seats[first:], *seats[:first]))

    def _acts(self, line: Line, seats: tuple[int, ...]) -> bool:
        for seat in seats:
            for action in line.choices(seat, TRIES):
                if action is not None and line.act(seat, action, line.play.time):
                    return True
        return False

    def _missed(self, line: Line) -> int | None:
        """
        Return the player who left and whom the others now wait for.

        Nobody else can act; but if those who left acted, somebody else could.
        """
        if any(line.can_act(seat) for seat in line.present):
            return None
        missed = next((seat for seat in line.gone if line.can_act(seat)), None)
        if missed is None:
            return None
        as_if = line.fork(4)
        as_if.trial = Trial()
        for _ in range(MOST_AS_IF):
            seat = next((seat for seat in as_if.gone if as_if.can_act(seat)), None)
            if seat is None or not self._acts(as_if, (seat,)):
                return None
            if as_if.play.outcome is not None or any(
                as_if.can_act(seat) for seat in as_if.present
            ):
                return missed
        return None


def _line_of(error: BaseException) -> str:
    """Name the line of the author's code where an error began; empty without one."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not frame.f_globals.get("__name__", "").startswith("vinom."):
            code = frame.f_code
            place = f" ({PurePath(code.co_filename).name}:{line}, in {code.co_name})"
    return place


def first_disagreement(one: list[str], other: list[str]) -> Finding | None:
    """Compare the traces of one trial in two processes."""
    for step, (ours, theirs) in enumerate(zip(one, other, strict=False)):
        if ours != theirs:
            return Finding(
                "hash_seed",
                f"step {step}: {ours}, then {theirs}; does it iterate over a set?",
            )
    if len(one) != len(other):
        return Finding("hash_seed", f"{len(one)} steps, then {len(other)}")
    return None
