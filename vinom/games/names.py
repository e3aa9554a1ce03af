"""Names of the bots of Vinom's own games."""

from __future__ import annotations

#: Short ones, as many as the largest table has seats beside a player.
BOT_NAMES = (
    *("Pixel", "Mabel", "Otto", "Juno", "Biscuit", "Tilda", "Rufus", "Pepper"),
    *("Wanda", "Figaro", "Clover", "Boris", "Nutmeg", "Hugo", "Olive"),
)
