"""What a room of the node reports to the results: how its rounds end."""

from __future__ import annotations

from vinom.base.model import MatchEnd
from vinom.fleet.relay.room import Host
from vinom.game import Event, Outcome
from vinom.lobby.matches.service import ResultWatch
from vinom.play.room import outcome_facts


class ResultOutlet:
    """The outlet of a room's host to the results; it comes before the members'."""

    def __init__(
        self, host: Host, results: ResultWatch, has_result: bool = False
    ) -> None:
        """
        Watch what is played from its start to its end.

        :param host: plays it; has the seats as they are.
        :param results: notes how rounds end.
        :param has_result: has a round ended before, on another node?
        """
        self._host, self._results = host, results
        self._has_result = has_result

    def started(self, now: float) -> None:
        """Do nothing."""

    def emitted(self, event: Event, version: int, now: float) -> None:
        """Do nothing."""

    def round_over(self, outcome: Outcome, now: float) -> None:
        """Note the outcome of a round."""
        self._has_result = True
        self._results.round_over(self._host.room.plan, outcome_facts(outcome))

    def forfeited(self, seat: int, now: float) -> None:
        """Do nothing."""

    def closed(self, end: MatchEnd, report: str | None, now: float) -> None:
        """Note an end without the outcome of any round."""
        if not self._has_result:
            self._results.match_over(self._host.room.plan, end.reason)

    def show(self, now: float) -> bool:
        """Show nothing."""
        return True
