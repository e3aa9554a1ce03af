"""Play the maze in a terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall

from vinom.base.messages.lobby import QueueStatus
from vinom.client.game_line import IPlayReactor
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.match import Match, MatchLost, MatchResult, Refusal
from vinom.client.sdk import Client
from vinom.client.terminal.scene import Scene, compose, headline
from vinom.client.terminal.screen import Canvas, Screen

#: Pictures per second.
_RATE = 20
_KEYS = "← ↑ ↓ → move · q quits"
_KEYS_OVER = "q quits"
_KEYS_WON = "space dances · q quits"
_KEYS_AGAIN = "enter plays again · q quits"


# Bits of a cell's open sides, and how a step changes (row, col).
_STEPS = {
    "up": (1, -1, 0),
    "right": (2, 0, 1),
    "down": (4, 1, 0),
    "left": (8, 0, -1),
}
#: Most steps without an answer; with more, a player would walk on long after the key
#: was released.
_MOST_AHEAD = 8


class MazeWalker:
    """
    Walk without waiting for the answer to each step.

    A move names the cell where it starts, so each one starts where the one before it
    leads. After a refusal the next one starts where the server shows us.

    :param setup: of `vinom.games.maze`, as decoded.
    :param seat: ours.
    :ivar at: where we will be once all steps are answered; ``None`` if none wait.
    """

    def __init__(self, setup: Mapping[str, Any], seat: int) -> None:
        self._walls, self._seat = setup["walls"], seat
        self._ahead: deque[int] = deque()
        self.at: tuple[int, int] | None = None

    def choose(self, key: str, view: Mapping[str, Any]) -> dict[str, Any] | None:
        """Find the action that a key means now; ``None`` if it has no effect."""
        if key == "dance":
            wins = view["over"] and self._seat in view["winners"]
            return {"type": "dance"} if wins else None
        step = _STEPS.get(key)
        if step is None or view["over"] or len(self._ahead) >= _MOST_AHEAD:
            return None
        row, col = self._here(view)
        if not int(self._walls[row][col], 16) & step[0]:
            return None
        return {"type": "move", "direction": key, "from": [row, col]}

    def sent(self, action: Mapping[str, Any], number: int) -> None:
        """Note that an action was sent, with this number; 0 if it was not."""
        if action["type"] == "move" and number:
            _, down, right = _STEPS[action["direction"]]
            row, col = action["from"]
            self.at = (row + down, col + right)
            self._ahead.append(number)

    def saw(self, acked: int) -> None:
        """Note that a state has answered everything up to this number."""
        while self._ahead and self._ahead[0] <= acked:
            self._ahead.popleft()
        if not self._ahead:
            self.at = None

    def refused(self) -> None:
        """Note that a step was refused: the steps after it will be, too."""
        self._ahead.clear()
        self.at = None

    def ahead_of(self, view: Mapping[str, Any]) -> Mapping[str, Any]:
        """Show us where we will be."""
        if self.at is None:
            return view
        at = list(view["at"])
        at[self._seat] = list(self.at)
        return {**view, "at": at}

    def _here(self, view: Mapping[str, Any]) -> tuple[int, int]:
        if self.at is not None:
            return self.at
        row, col = view["at"][self._seat]
        return row, col


def scene_of(match: Match, now: float, frame: int, **more: Any) -> Scene:
    """
    Describe a match as it is now; it must have a view.

    :param now: on the reactor's clock.
    :param frame: number of the picture.
    :param more: other facts of the `Scene`.
    """
    age = max(0.0, now - match.seen_at)
    facts = {"view": match.view, "you": match.seat} | more
    return Scene(
        setup=match.setup,
        names=match.names,
        time=match.time + age,
        rtt=match.rtt,
        loss=match.loss,
        frame=frame,
        **facts,
    )


class MazeGame:
    """
    One player at one terminal.

    :param reactor: for time and UDP.
    :param dial: logs in to the lobby.
    :param place: the lobby's name in messages.
    :param options: of the game.
    :param display: where pictures are shown.
    :ivar last_words: lines to print once the screen is given back.
    """

    def __init__(
        self,
        reactor: IPlayReactor,
        dial: Callable[[], Deferred[Client]],
        place: str,
        options: Any,
        display: Screen,
    ) -> None:
        self._reactor, self._dial, self._place = reactor, dial, place
        self._options, self._display = options, display
        self._client: Client | None = None
        self._match: Match | None = None
        self._walker: MazeWalker | None = None
        self._waiting: Deferred[Any] | None = None
        self._again: Deferred[None] | None = None
        self._status = ""
        self._result: MatchResult | None = None
        self._frame = 0
        self._is_quitting = False
        self.last_words: list[str] = []

    async def run(self) -> int:
        """Play until the player quits; returns the exit code."""
        drawing = LoopingCall(self._draw)
        drawing.clock = self._reactor
        drawing.start(1.0 / _RATE)
        try:
            return await self._play()
        finally:
            drawing.stop()

    def stop(self) -> None:
        """Quit."""
        self._is_quitting = True
        if self._match is not None:
            self._match.leave()
        if self._waiting is not None:
            self._waiting.cancel()

    def press(self, key: str) -> None:
        """The player pressed a key; see `vinom.client.terminal.screen`."""
        if key == "quit":
            self.stop()
        elif key == "again" and self._again is not None:
            again, self._again = self._again, None
            again.callback(None)
        elif self._match is not None and self._match.view is not None:
            self._act(self._match, key)

    def _act(self, match: Match, key: str) -> None:
        if self._walker is None:
            self._walker = MazeWalker(match.setup, match.seat)
        action = self._walker.choose(key, match.view)
        if action is not None:
            self._walker.sent(action, match.act(action))
            self._draw()

    async def _play(self) -> int:
        self._status = f"connecting to {self._place}"
        try:
            self._client = await self._wait(self._dial())
            while not self._is_quitting:
                await self._play_match(self._client)
                if not self._is_quitting:
                    self._again = Deferred()
                    await self._wait(self._again)
        except CancelledError:
            return 0
        except (LobbyRefusal, LineLost) as error:
            if self._is_quitting:
                return 0
            # Without a client we never reached it.
            hint = "; set --connect to a lobby" if self._client is None else ""
            is_lost = isinstance(error, LineLost)
            words = f"{str(error).rstrip('.')}{hint}" if is_lost else str(error)
            self.last_words.append(f"vinom play: {self._place}: {words}")
            return 1
        finally:
            if self._client is not None:
                self._client.close()
        return 0

    async def _wait(self, waiting: Deferred[Any]) -> Any:
        self._waiting = waiting
        try:
            return await waiting
        finally:
            self._waiting = None

    async def _play_match(self, client: Client) -> None:
        void = True
        while void and not self._is_quitting:
            self._match = self._walker = self._result = None
            self._status = "looking for other players"
            try:
                await self._wait(
                    client.queue(
                        "maze",
                        self._options,
                        on_status=self._queued,
                        on_found=self._found,
                    )
                )
            except MatchLost:
                if self._match is None:
                    raise
            match: Match | None = self._match
            if match is None:
                return
            self._result = await match.ended
            # Other players did not come; we keep our place in the queue.
            void = self._result.reason == "void"
            if match.view is not None:
                line = headline(scene_of(match, 0.0, 0))
                self.last_words.append(f"{line} [{self._result.reason}]")

    def _queued(self, status: QueueStatus) -> None:
        if status.state == "matched" and status.problem:
            self._status = status.problem
        elif status.state == "matched":
            self._status = "match found; the server is preparing it"
        elif status.position is not None:
            self._status = f"waiting for other players, position {status.position}"

    def _found(self, match: Match) -> None:
        self._match = match
        self._status = "taking the seat"
        match.on_state(self._saw)
        match.on_refusal(self._refused)

    def _saw(self, match: Match) -> None:
        if self._walker is not None:
            self._walker.saw(match.acked)

    def _refused(self, refusal: Refusal) -> None:
        if self._walker is not None:
            self._walker.refused()

    # Drawing.

    def _draw(self) -> None:
        self._frame += 1
        width, height = self._display.size()
        match = self._match
        if match is None or match.view is None or match.setup is None:
            self._display.show(self._compose_waiting(width, height))
            return
        view = match.view
        if self._walker is not None:
            view = self._walker.ahead_of(view)
        scene = scene_of(
            match,
            self._reactor.seconds(),
            self._frame * 10 // _RATE,
            view=view,
            keys=self._keys(match),
            notes=self._notes(match),
        )
        self._display.show(compose(scene, width, height))

    def _compose_waiting(self, width: int, height: int) -> Canvas:
        status = self._status
        if self._match is not None and self._match.joins:
            status = "you have a seat; waiting for the others"
        dots = "." * (self._frame // (_RATE // 2) % 4)
        picture = Canvas(height, width)
        picture.put(1, 2, f"vinom · maze at {self._place}")
        picture.put(3, 2, f"{status}{dots}")
        picture.put(5, 2, "q quits")
        return picture

    def _keys(self, match: Match) -> str:
        if self._result is not None:
            return _KEYS_AGAIN
        if not match.view["over"]:
            return _KEYS
        return _KEYS_WON if match.seat in match.view["winners"] else _KEYS_OVER

    def _notes(self, match: Match) -> list[str]:
        if self._result is not None:
            if self._result.reason == "finished":
                return []
            return [f"the match is over: {self._result.reason}"]
        if not match.is_connected:
            return ["connection lost,", "reconnecting..."]
        return []
