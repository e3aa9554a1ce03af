"""
One example of each message of a control link, for docs/protocol/game-servers.rst.

``python -m tests.docs.control_examples`` prints the sections of that page.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

import msgspec.inspect as shapes
from msgspec import NODEFAULT, Struct

from vinom.base.model import MatchEnd, MatchPlan, SeatPlan, Ticket
from vinom.fleet.control import messages as m

MATCH = "zcavn4holo6cnsukh7dbuwgx3e"
LABEL = "a" * 26
_TICKET = Ticket(LABEL, MATCH, 0, 1795243006.5)
_PLAN = MatchPlan(
    MATCH,
    "nim",
    (SeatPlan("p1", "ann"), SeatPlan("p2", "bob")),
    bytes(range(32)),
    b'{"sticks":21}',
)
_OUTCOME = {"round": 1, "places": [[0], [1]], "scores": [1, 0]}
_END = MatchEnd(MATCH, "finished", _OUTCOME, (0, 1), 9, "0123456789abcdef")
_VIEW = bytes.fromhex("82a6737469636b7315a47475726e00")

#: In the order of the page.
TO_SERVER: tuple[m.ToServer, ...] = (
    m.Bind("", 0, "cn5ejqzmbsxxhcxy", "game.vinom", b"", b"", {}),
    m.OpenRoom(_PLAN, ()),
    m.AddTicket(_TICKET),
    m.Kick(MATCH, 1),
    m.CloseRoom(MATCH, "ended"),
    m.Heartbeat(7),
    m.TokenKeys(1, {"k1": b"-----BEGIN PUBLIC KEY-----\n..."}),
    m.RotateCookies(),
    m.RelayWatch(MATCH, True, True),
    m.RelaySeat(MATCH, 0, "join", 1, 0),
    m.RelayNewcomer(MATCH, 2, SeatPlan("p3", "cat")),
    m.RelayAction(MATCH, 0, 1, bytes.fromhex("82a474797065a474616b65a5636f756e7401")),
    m.Stop(),
    m.HandOver(),
    m.KeptTaken(MATCH, 3, 0),
    m.Adopted((MATCH,)),
    m.Known(b"0123456789abcdef"),
)
TO_NODE: tuple[m.ToNode, ...] = (
    m.Ready("cn5ejqzmbsxxhcxy", 4711, m.CONTROL_PROTOCOL),
    m.Bound(0),
    m.BindFailed(46000, "address in use"),
    m.TokenKeysTaken(1),
    m.RoomOpened(MATCH),
    m.TicketAdded(LABEL),
    m.SeatChanged(MATCH, 0, "joined"),
    m.MatchStarted(MATCH),
    m.RoundEnded(MATCH, _OUTCOME),
    m.RoomEnded(_END),
    m.RelayState(MATCH, 1, "playing", 0.5, {0: 1}, (_VIEW,), {-1: 0, 0: 0, 1: 0}),
    m.RelayEvent(MATCH, 2, "taken", {"count": 1}, None),
    m.RelayRefusal(MATCH, 0, 1, "rejected", "not_your_turn", "it is not your turn"),
    m.RelayTaken(MATCH, 0, 1),
    m.RelayFailed(MATCH, "a view of 2000000 bytes, limit 983040"),
    m.Alive(7, {"rooms": 1.0}),
    m.Draining(),
    m.RecordingData(MATCH, 1, 40, b"..."),
    m.Kept(MATCH, 3, 0, b"a checkpoint"),
)

#: What maps in messages are, and what the page calls them.
VALUES: dict[str, Any] = {
    "A plan": MatchPlan,
    "A seat of a plan": SeatPlan,
    "A ticket": Ticket,
    "An end": MatchEnd,
    "A cookie key": m.CookieKeyReport,
    "A match that is played": m.Playing,
}

_IVAR = re.compile(r"^:ivar (\w+): (.*(?:\n .*)*)", re.MULTILINE)
_WORDS: dict[type, str] = {
    shapes.IntType: "integer",
    shapes.FloatType: "float",
    shapes.StrType: "str",
    shapes.BoolType: "bool",
    shapes.BytesType: "bin",
    shapes.AnyType: "any",
    shapes.NoneType: "nil",
}


def tag_of(message: Struct | type[Struct]) -> str:
    """The value of the member ``t``."""
    return str(message.__struct_config__.tag)


def in_words(shape: shapes.Type) -> str:
    """Name a type by MessagePack's families of formats."""
    if isinstance(shape, shapes.UnionType):
        return " or ".join(map(in_words, shape.types))
    if isinstance(shape, shapes.LiteralType):
        return " or ".join(f'"{value}"' for value in shape.values)
    if isinstance(shape, shapes.VarTupleType):
        return f"array of {in_words(shape.item_type)}"
    if isinstance(shape, shapes.DictType):
        key, value = in_words(shape.key_type), in_words(shape.value_type)
        return f"map of {key} to {value}"
    if isinstance(shape, shapes.StructType | shapes.DataclassType):
        return "map"
    return _WORDS[type(shape)]


def members(kind: Any) -> list[str]:
    """Describe the members of a message, or of a value in it, as reST."""
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType | shapes.DataclassType)
    text = inspect.getdoc(kind) or ""
    facts = {name: " ".join(about.split()) for name, about in _IVAR.findall(text)}
    lines = []
    for field in shape.fields:
        words = in_words(field.type)
        if field.default is not NODEFAULT:
            words += ", may be missing"
        about = facts.get(field.encode_name, "")
        about = f": {on_the_wire(about)}" if about else ""
        lines += wrapped(f"* ``{field.encode_name}`` ({words}){about}", "  ")
    return lines


def on_the_wire(text: str) -> str:
    """Name messages as they are named in frames."""
    tags = {type(one).__name__: tag_of(one) for one in (*TO_SERVER, *TO_NODE)}
    text = text.replace("``None``", "nil")
    return re.sub(
        r"(?<!`)`([\w.]+)`(?!`)",
        lambda found: f"``{tags.get(found[1], found[1])}``",
        text,
    )


def wrapped(text: str, indent: str = "") -> list[str]:
    """Break lines as the manual does."""
    return textwrap.wrap(
        text,
        98,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def section(message: m.ToServer | m.ToNode) -> str:
    """Write the section of one message."""
    tag, text = tag_of(message), inspect.getdoc(type(message)) or ""
    about = on_the_wire(" ".join(text.split("\n:ivar ")[0].split()))
    frame = m.encode(message).hex()
    lines = [frame[at : at + 88] for at in range(0, len(frame), 88)]
    return "\n".join(
        [
            f"``{tag}``",
            "~" * (len(tag) + 4),
            "",
            *wrapped(about),
            "",
            *members(type(message)),
            "",
            "::",
            "",
            *(f"   {line}" for line in lines),
            "",
        ]
    )


if __name__ == "__main__":
    for title, examples in (
        ("From a node to a game server", TO_SERVER),
        ("From a game server to a node", TO_NODE),
    ):
        print(f"{title}\n{'-' * len(title)}\n")
        for example in examples:
            print(section(example))
    print("Values in messages\n------------------\n")
    for name, kind in VALUES.items():
        print(f"{name}\n{'~' * len(name)}\n")
        print("\n".join(members(kind)) + "\n")
