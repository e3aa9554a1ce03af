"""Tell twistd that there is `vinom`; names only, nothing of ours is imported."""

from twisted.application.service import ServiceMaker

vinom = ServiceMaker(
    "Vinom",
    "vinom.node.twistd",
    "Game sessions: a lobby, matchmaking, and encrypted UDP matches.",
    "vinom",
)
gateway = ServiceMaker(
    "Vinom gateway",
    "vinom.gateway.twistd",
    "One public port in front of nodes and other servers.",
    "vinom-gateway",
)
gameserver = ServiceMaker(
    "Vinom game server",
    "vinom.fleet.gameserver.twistd",
    "Hosts matches for a node that started it elsewhere, such as in a pod.",
    "vinom-gameserver",
)
