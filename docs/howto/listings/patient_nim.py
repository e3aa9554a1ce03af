"""Nim for people with bad networks: a bot plays for absent players."""

from nim import Nim


class PatientNim(Nim):
    absent = "bot"
    bot_seconds = 15.0
    grace_seconds = 120.0
