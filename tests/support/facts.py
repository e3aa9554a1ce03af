"""A node's facts as `vinom.node.node.Node.facts` returns them, in memory."""

from __future__ import annotations

from typing import Any

#: What a game server reported; see `vinom.base.reactor.figures`.
PLAYED: dict[str, float] = {
    "players": 4,
    "rooms": 1,
    "associations": 5,
    "datagrams_in": 100,
    "datagrams_out": 90,
    "dropped_size": 2,
    "dropped_unsendable": 0,
    "packets_dropped_rate": 3,
    "admission_admitted": 6,
    "admission_cookie_asked": 9,
    "admission_junk": 7,
    "handshake_begun": 6,
    "handshake_finished": 5,
    "joins_accepted": 4,
    "joins_bad_token": 1,
    "errors_bad_token": 1,
    "rtt_seconds:0.02": 8,
    "rtt_seconds:0.1": 2,
    "rtt_seconds:sum": 0.3,
    "loss:0": 10,
    "turn_seconds:0.001": 50,
    "turn_seconds:inf": 1,
    "turn_seconds:sum": 1.5,
    "slow_calls:game.act": 1,
    "slowest_call:game.act": 1.2,
    "slowest_call:game.view": 0.7,
}

FACTS: dict[str, Any] = {
    "draining": 0,
    "problems": {"clock": 0, "game_servers": 1},
    "recordings_stopped": 2,
    "lobby": {"lines": 3, "players": 2},
    "queue": {
        "waiting": {"maze": 2, "roomecho": 0},
        "waits": {
            "maze": {"wait:0.1": 3, "wait:5": 1, "wait:sum": 4.5},
            "roomecho": {},
        },
        "suspended": 1,
        "longest_wait": 1.5,
        "backfilled": {"maze": 3, "roomecho": 0},
        "prematches": {"open": 2, "results": {"accepted": 8, "silent": 1}},
        "parties": {"idle": 3, "in_game": 1},
    },
    "matches": {"forming": 0, "placed": 1, "playing": 4, "ended": {"finished": 7}},
    "fleet": {
        "servers": {"warm": 2},
        "ports_free": 59,
        "ports_bound": 5,
        "ports_quarantined": 0,
        "waiting": 0,
        "went_on": {"died": 0, "moved": 0, "machine": 0},
        "old_copies": 0,
    },
    "certificates": {"authority": 2e9, "lobby": 1.9e9},
    "played": PLAYED,
    "turns": {"turn_seconds:0.0005": 9, "turn_seconds:sum": 0.004},
    "errors": {"hello_first": 2},
    "store": {
        "available": 1,
        "opened": 2,
        "calls": {"ok": 40, "late": 1},
        "seconds": {"call:0.001": 39, "call:0.5": 1, "call:sum": 0.4},
    },
    "results": {
        "noted": {"finished": 8, "abandoned": 1},
        "states": {"kept": 9, "waiting": 2, "dead": 1},
        "longest_wait": 4.5,
        "forgotten": 0,
        "requests": {"sent": 6, "failed": 3, "dead": 1},
    },
    "players": {"maze": 0, "tictactoe": 5},
    "rooms": {
        "rooms": 3,
        "places": 9,
        "away": 2,
        "relayed_seats": 3,
        "match_spectators": 1,
        "by_game": {("tictactoe", "playing"): 2, ("maze", "gathering"): 1},
        "ended": {"finished": 5},
        "checkpoints": {"kept": 12, "failed": 1},
        "paused": 2,
        "unremoved": 1,
    },
}
