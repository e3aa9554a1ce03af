"""
A terminal: draw on it, read its keys, and restore its settings at the end.

Only this module changes the settings. What is drawn is a `Canvas`: a grid of character
cells with colours, which becomes lines of text.
"""

from __future__ import annotations

import os
import re
import sys
import termios
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

import attrs
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.printable import printable

#: Parameters of a terminal's "select graphic rendition", such as ``"1;33"``.
Style = str
TITLE: Style = "1;38;5;231;48;5;25"
QUIET: Style = "38;5;245"
#: Texts that follow each other in a row.
Row = Sequence[tuple[str, Style]]

_Cell = tuple[str, Style]
_BLANK: _Cell = (" ", "")


def width_of(character: str) -> int:
    """Number of columns that one printable character takes: 0 to 2."""
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """Cut *text* to a number of columns, with an ellipsis if it was longer."""
    if sum(map(width_of, text)) <= columns:
        return text
    kept, used = "", 0
    for character in text:
        used += width_of(character)
        if used > columns - 1:
            break
        kept += character
    return f"{kept}…" if columns > 0 else ""


class Canvas:
    """
    Cells to draw on; drawing outside them has no effect.

    :param height: rows; below 0 counts as 0. Kept as ``height``.
    :param width: columns; below 0 counts as 0. Kept as ``width``.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = max(height, 0), max(width, 0)
        self._rows: list[list[_Cell]] = [
            [_BLANK] * self.width for _ in range(self.height)
        ]

    def put(self, row: int, col: int, text: str, style: Style = "") -> int:
        """
        Draw *text* to the right, beginning at a cell; escaped, for it may be a
        stranger's.

        :returns: the column after it.
        """
        inside = 0 <= row < self.height
        for character in printable(text):
            width = width_of(character)
            if inside and not width and 0 < col <= self.width:
                # A mark on the letter before it.
                before, old_style = self._rows[row][col - 1]
                self._rows[row][col - 1] = (before + character, old_style)
            elif inside and width and 0 <= col <= self.width - width:
                self._rows[row][col] = (character, style)
                if width == 2:
                    self._rows[row][col + 1] = ("", style)
            col += width
        return col

    def put_row(self, row: int, col: int, parts: Row) -> None:
        """Draw texts to the right, each in its style, and cut them at the edge."""
        for text, style in parts:
            col = self.put(row, col, fit(text, self.width - col), style)

    def put_title(self, text: str, right: str = "") -> None:
        """Draw the first row: a title, and perhaps a text at the right edge."""
        self.put(0, 0, " " * self.width, TITLE)
        self.put(0, 1, fit(text, self.width - len(right) - 3), TITLE)
        self.put(0, self.width - len(right) - 1, right, TITLE)

    def paste(self, row: int, col: int, other: Canvas) -> None:
        """Draw another canvas on this one, its upper left corner at a cell."""
        for down in range(max(0, -row), min(other.height, self.height - row)):
            first, last = max(0, -col), min(other.width, self.width - col)
            if first < last:
                self._rows[row + down][col + first : col + last] = other._rows[down][
                    first:last
                ]

    def cut(self, row: int, col: int, height: int, width: int) -> Canvas:
        """Copy a part of this canvas; cells outside it are blank."""
        part = Canvas(height, width)
        part.paste(-row, -col, self)
        return part

    def lines(self, *, colour: bool = True, ascii_only: bool = False) -> list[str]:
        """Turn the cells into lines of text, without trailing spaces."""
        lines = [_line(cells, colour) for cells in self._rows]
        return [_to_ascii(line) for line in lines] if ascii_only else lines


_TO_ASCII = str.maketrans(
    "·●◆█▌★♪♫…←↑↓→—╴─╶╵│╷╭╮╯╰├┤┬┴┼", ".o*#|*~~.<^v>----|||+++++++++"
)


def _to_ascii(line: str) -> str:
    """Replace the characters that a terminal without Unicode cannot show."""
    return line.translate(_TO_ASCII).encode("ascii", "replace").decode("ascii")


def _line(cells: list[_Cell], colour: bool) -> str:
    last = len(cells)
    while last and cells[last - 1] == _BLANK:
        last -= 1
    if not colour:
        return "".join(text for text, _ in cells[:last]).rstrip()
    parts: list[str] = []
    current = ""
    for text, style in cells[:last]:
        if style != current:
            parts.append(f"\x1b[0;{style}m" if style else "\x1b[0m")
            current = style
        parts.append(text)
    if current:
        parts.append("\x1b[0m")
    return "".join(parts)


_QUIT = {b"\x03": "quit", b"\x04": "quit", b"q": "quit", b"Q": "quit"}
_ARROWS = {b"A": "up", b"B": "down", b"C": "right", b"D": "left"}
#: Keys of somebody who plays.
PLAYING = _QUIT | {
    b" ": "dance",
    b"\r": "again",
    b"\n": "again",
    b"w": "up",
    b"s": "down",
    b"a": "left",
    b"d": "right",
    b"k": "up",
    b"j": "down",
    b"h": "left",
    b"l": "right",
}
#: Keys of somebody who watches a demonstration.
WATCHING = _QUIT | {b"n": "next", b"l": "loss", b"k": "kill"}
#: A key: a control sequence, whose parameters, such as for a held Shift key, end with a
#: letter; the beginning of none; or one byte.
_KEY = re.compile(rb"\x1b[\[O][^@-~]*([@-~])|\x1b(?=[^\[O])|[^\x1b]", re.DOTALL)
_LONGEST = 16


@attrs.define
class KeyReader:
    """
    Recognize the keys that a terminal sends.

    Source: ECMA-48 control sequences, as xterm sends them for arrow keys.

    :ivar plain: names of the keys that send one byte.
    """

    plain: Mapping[bytes, str] = attrs.field(factory=lambda: PLAYING)

    _held: bytes = attrs.field(default=b"", init=False)

    def receive(self, data: bytes) -> list[str]:
        """
        Receive bytes; a key may be split over several calls.

        :returns: names of keys, in order: up, down, left, right, and those of `plain`.
        """
        held, at, keys = self._held + data, 0, []
        while (found := _KEY.match(held, at)) is not None:
            at = found.end()
            if key := _ARROWS.get(found[1]) or self.plain.get(found[0]):
                keys.append(key)
        self._held = held[at:] if len(held) - at < _LONGEST else b""
        return keys


_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"


def can_draw(out: TextIO, environ: Mapping[str, str]) -> bool:
    """Is this a terminal that supports our escape sequences?"""
    return out.isatty() and environ.get("TERM", "dumb") not in ("dumb", "")


class Screen:
    """
    Show pictures; only lines that have changed are written.

    :param out: a terminal.
    :param environ: whether the user wants colours (source: https://no-color.org).
    """

    def __init__(self, out: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._out = out
        self._colour = not environ.get("NO_COLOR")
        encoding = (out.encoding or "").lower().replace("-", "")
        self._ascii_only = encoding not in ("utf8", "utf16")
        self._shown: list[str] = []
        self._size = (0, 0)
        self._is_entered = False
        self._keyboard: _Keyboard | None = None

    def enter(self) -> None:
        """Switch to a blank screen; `leave` restores the old one."""
        self._out.write(_ENTER)
        self._out.flush()
        self._is_entered = True

    def read_keys(
        self,
        reactor: IReactorFDSet,
        press: Callable[[str], None],
        plain: Mapping[bytes, str] = PLAYING,
    ) -> None:
        """
        Read keys until `leave`.

        :param reactor: watches standard input.
        :param press: called with the name of each key, see `KeyReader`.
        :param plain: names of the keys that send one byte.
        """
        self._keyboard = _Keyboard(reactor, press, plain)
        self._keyboard.start()

    def leave(self) -> None:
        """Restore what the terminal showed before; a second time does nothing."""
        if self._keyboard is not None:
            self._keyboard.stop()
            self._keyboard = None
        if self._is_entered:
            self._is_entered = False
            self._out.write(_LEAVE)
            self._out.flush()

    def size(self) -> tuple[int, int]:
        """Columns and rows, now."""
        try:
            size = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):
            return 80, 24
        # A pseudo-terminal without a size reports 0 by 0.
        return size.columns or 80, size.lines or 24

    def show(self, picture: Canvas) -> None:
        """Show a picture in place of the last one, from the top."""
        size = self.size()
        if size != self._size:
            self._size, self._shown = size, []
            self._out.write("\x1b[0m\x1b[2J")
        lines = picture.lines(colour=self._colour, ascii_only=self._ascii_only)
        lines = lines[: size[1]]
        parts = []
        for row in range(max(len(lines), len(self._shown))):
            new = lines[row] if row < len(lines) else ""
            if row >= len(self._shown) or self._shown[row] != new:
                parts.append(f"\x1b[{row + 1};1H{new}\x1b[0m\x1b[K")
        self._shown = lines
        if parts:
            self._out.write("".join(parts))
            self._out.flush()


@implementer(IReadDescriptor)
class _Keyboard:
    """Read keys as they are pressed, without echo."""

    def __init__(
        self,
        reactor: IReactorFDSet,
        press: Callable[[str], None],
        plain: Mapping[bytes, str],
    ) -> None:
        self._reactor, self._press = reactor, press
        self._reader = KeyReader(plain)
        self._fd = sys.stdin.fileno()
        self._found: list[int | list[bytes | int]] | None = None

    def start(self) -> None:
        """Begin to read keys, if standard input is a terminal."""
        if not os.isatty(self._fd):
            return
        self._found = termios.tcgetattr(self._fd)
        raw = termios.tcgetattr(self._fd)
        # No echo, and no waiting for Enter; Ctrl-C remains a signal.
        raw[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, raw)
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Stop reading keys, and restore the terminal's settings."""
        if self._found is not None:
            self._reactor.removeReader(self)
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._found)
            self._found = None

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "keyboard"

    def doRead(self) -> Failure | None:
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        if not data:
            self.stop()
            self._press("quit")
            return None
        for key in self._reader.receive(data):
            self._press(key)
        return None

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: the reactor is stopping."""
