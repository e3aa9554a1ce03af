"""Tic-tac-toe by letters, to measure rooms that sleep."""

from __future__ import annotations

from vinom.games.tictactoe import Board, TicTacToe

DAY = 86400.0


class Letters(TicTacToe):
    """Three days for each move."""

    name = "letters"
    clock = "wall"
    time_limit = 90 * DAY
    grace_seconds = 7 * DAY

    def time_for(self, s: Board, seat: int | None) -> float:
        """Give each player three days, whatever the options are."""
        return 3 * DAY
