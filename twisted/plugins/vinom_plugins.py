"""Tell twistd that there is `vinom`; names only, nothing of ours is imported."""

from twisted.application.service import ServiceMaker

vinom = ServiceMaker(
    "Vinom",
    "vinom.node.twistd",
    "Game sessions: a lobby, matchmaking, and encrypted UDP matches.",
    "vinom",
)
