"""A grid of character cells with colours, which becomes lines of text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

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
