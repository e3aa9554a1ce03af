"""Tic-tac-toe by letters, for tests: with little time for each, or with days."""

from __future__ import annotations

from vinom.games.tictactoe import Board, TicTacToe

DAY = 86400.0


class Letters(TicTacToe):
    """Three days for each move."""

    name = "letters"
    title = "Letters"
    clock = "wall"
    time_limit = 60 * DAY
    grace_seconds = 7 * DAY
    linger = 3 * DAY
    seconds = 3 * DAY

    def time_for(self, s: Board, seat: int | None) -> float:
        """Give each player the same, whatever the options are."""
        return self.seconds


class Notes(Letters):
    """Fifteen seconds for each move."""

    name = "notes"
    seconds = 15.0
