"""Nim for people with bad networks: a bot plays for absent players."""

import attrs
from nim import Nim


class PatientNim(Nim):
    absent = "bot"
    bot_seconds = 15.0
    grace_seconds = 120.0

    def left(self, s, seat, now):
        # A player whose turn it is when the pile is empty loses: see `outcome`.
        return attrs.evolve(s, pile=0, turn=seat) if s.pile else s
