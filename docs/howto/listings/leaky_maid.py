"""Old maid, with a view that shows too much."""

from msgspec.structs import replace

from vinom.games.oldmaid import OldMaid


class LeakyMaid(OldMaid):
    def view(self, s, audience):
        shown = super().view(s, audience)
        # "Players won't look at it": they will.
        return shown if audience is None else replace(shown, hand=sum(s.hands, ()))
