"""
Film a terminal and a browser in one match, as ``match.gif`` beside this file.

Run it from the checkout: ``python docs/images/match.py``. It needs what the tests with
browsers need, tmux, Pillow and DejaVu's fonts.
"""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.support.browsers import Browser
from tests.support.whole_node import WholeNode

FRAMES, PER_SECOND = 56, 7
TERMINAL = (66, 25)
#: Of the picture, pixels: each half.
HALF, HIGH = 480, 400
SESSION = "vinom-film"
FONT = ImageFont.truetype("DejaVuSansMono.ttf", 12)
#: The light grey of a terminal, and how strong each sixth of its colour cube is.
PLAIN, STEPS = (232, 234, 237), (0, 95, 135, 175, 215, 255)
KEYS = {"Up": Keys.ARROW_UP, "Down": Keys.ARROW_DOWN}
KEYS |= {"Left": Keys.ARROW_LEFT, "Right": Keys.ARROW_RIGHT}


def tmux(*words: str) -> str:
    """Run tmux, and return what it prints."""
    done = subprocess.run(["tmux", *words], capture_output=True, text=True, check=True)
    return done.stdout


def colour_of(number: int) -> tuple[int, int, int]:
    """Look up one of a terminal's 256 colours."""
    if not 16 <= number < 232:
        return PLAIN if number < 16 else (8 + 10 * (number - 232),) * 3
    number -= 16
    return STEPS[number // 36], STEPS[number // 6 % 6], STEPS[number % 6]


def wander(keys: list[str], seed: int) -> Iterator[str]:
    """Walk on, and turn now and then."""
    drawn = random.Random(seed)
    key = keys[0]
    while True:
        if drawn.random() < 0.35:
            key = drawn.choice(keys)
        yield key
        yield drawn.choice(keys)


def draw_terminal() -> Image.Image:
    """Draw what the terminal shows, with its colours."""
    picture = Image.new("RGB", (HALF, HIGH), "#17181b")
    pen = ImageDraw.Draw(picture)
    for row, line in enumerate(tmux("capture-pane", "-ept", SESSION).splitlines()):
        column, colour = 0, PLAIN
        for codes, text in re.findall(r"\x1b\[([\d;]*)m|([^\x1b]+)", line):
            if not text:
                number = re.search(r"38;5;(\d+)", codes)
                colour = colour_of(int(number[1])) if number else PLAIN
                continue
            pen.text((8 + column * 7.1, 8 + row * 15), text, fill=colour, font=FONT)
            column += len(text)
    return picture


def main() -> None:
    """Play, and film it."""
    node = WholeNode("--warm=1", "--fill-seconds=3")
    browser = Browser((900, 750, False))
    play = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"
    try:
        node.wait()
        browser.open_first(
            f"http://127.0.0.1:{node.http}/",
            "sessionStorage.setItem('vinom.name','Ann')",
        )
        browser.press("Find a match of Maze")
        size = ("-x", str(TERMINAL[0]), "-y", str(TERMINAL[1]))
        command = (sys.executable, "-c", play, "play", "maze", "--name=Bob")
        at = f"--connect=127.0.0.1:{node.port}"
        tmux("new-session", "-d", "-s", SESSION, *size, *command, at)
        browser.until("return !!document.querySelector('canvas')")
        canvas = browser.driver.find_element(By.CSS_SELECTOR, "canvas")
        frames = []
        bob, ann = wander(list(KEYS), 3), wander(list(KEYS.values()), 5)
        began = time.monotonic()
        for number in range(FRAMES):
            tmux("send-keys", "-t", SESSION, next(bob), next(bob))
            canvas.send_keys(next(ann), next(ann))
            shot = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
            frame = Image.new("RGB", (2 * HALF, HIGH))
            frame.paste(draw_terminal(), (0, 0))
            frame.paste(shot.convert("RGB").resize((HALF, HIGH)), (HALF, 0))
            frames.append(frame.quantize(128, dither=Image.Dither.NONE))
            time.sleep(max(0, began + (number + 1) / PER_SECOND - time.monotonic()))
    finally:
        subprocess.run(["tmux", "kill-session", "-t", SESSION], check=False)
        browser.quit()
        node.stop()
    frames[0].save(
        Path(__file__).with_name("match.gif"),
        save_all=True,
        append_images=frames[1:],
        duration=1000 // PER_SECOND,
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    main()
