"""Nim for people with bad networks: a bot plays for who is away for long."""

import attrs
from nim import Nim


class PatientNim(Nim):
    absent = "bot"
    bot_seconds = 15.0
    grace_seconds = 120.0

    def left(self, s, seat, now):
        # Who would be next when the pile is empty has lost: see `outcome`.
        return attrs.evolve(s, pile=0, turn=seat) if s.pile else s
