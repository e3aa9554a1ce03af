"""Headless browsers, and what one may ask of the pages that they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from tests.support.needs import do_without, needs, path_of

#: Width, height, and whether it is touched: a desktop and a small phone.
DESKTOP = (1280, 800, False)
PHONE = (360, 740, True)

#: Bounds on liveness only: how long something may take on a slow machine, seconds.
PATIENCE = 45.0


def needs_browser() -> None:
    """Skip the running test if no browser can be driven here; see `needs`."""
    needs("chromium", "chromedriver")
    if find_spec("selenium") is None:
        do_without("not installed: selenium, of the extra named test")


class Browser:
    """
    One headless Chromium, with a profile of its own.

    :param size: as `DESKTOP`.
    :param is_dark: its colour scheme is dark.
    :param arguments: more of Chromium's.
    :ivar driver: Selenium's.
    """

    def __init__(
        self,
        size: tuple[int, int, bool] = DESKTOP,
        *,
        is_dark: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        from selenium.webdriver import Chrome, ChromeOptions, ChromeService

        options = ChromeOptions()
        options.binary_location = path_of("chromium")
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--hide-scrollbars",
            # Many at once on few cores, none of them in front.
            "--disable-background-timer-throttling",
            "--disable-renderer-backgrounding",
            "--disable-backgrounding-occluded-windows",
            *arguments,
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = ChromeService(executable_path=path_of("chromedriver"))
        self.driver = Chrome(options=options, service=service)
        self.complaints: list[str] = []
        self.resize(size)
        self.prefer(is_dark)

    def resize(self, size: tuple[int, int, bool]) -> None:
        """Be a screen of another size."""
        width, height, is_touched = size
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=is_touched,
        )
        self._devtools("Emulation.setTouchEmulationEnabled", enabled=is_touched)

    def prefer(self, is_dark: bool, *, is_calm: bool = False) -> None:
        """Say what the user likes."""
        wishes = {
            "prefers-color-scheme": "dark" if is_dark else "light",
            "prefers-reduced-motion": "reduce" if is_calm else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self._devtools("Emulation.setEmulatedMedia", features=features)

    def be_slow(self, milliseconds: int) -> None:
        """Let each file take so long; 0: no longer. Open WebSockets are spared."""
        self._devtools("Network.enable")
        self._devtools(
            "Network.emulateNetworkConditions",
            offline=False,
            latency=milliseconds,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def _devtools(self, command: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def touch(self, x: float, y: float) -> None:
        """Tap with a finger, at a place of what can be seen."""
        at = [{"x": x, "y": y}]
        self._devtools("Input.dispatchTouchEvent", type="touchStart", touchPoints=at)
        self._devtools("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def open(self, url: str) -> None:
        """Go to a page."""
        self.driver.get(url)

    def open_first(self, url: str, script: str) -> None:
        """
        Go to a page, and run a script in it before its own scripts.

        A script that comes after them may come before the node's first answer, and
        what that changes would stand beside it.
        """
        added = self._devtools("Page.addScriptToEvaluateOnNewDocument", source=script)
        self.open(url)
        self._devtools("Page.removeScriptToEvaluateOnNewDocument", **added)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; what it returns."""
        return self.driver.execute_script(script, *arguments)

    def run_later(self, script: str) -> Any:
        """Run a script that calls ``done`` some time; what it gave."""
        self.driver.set_script_timeout(PATIENCE)
        return self.driver.execute_async_script(
            f"const done = arguments[arguments.length - 1]; {script}"
        )

    def until(self, script: str, *arguments: Any, what: str = "") -> Any:
        """
        Wait until a script gives something true.

        :raises AssertionError: it never does.
        """
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        waiting = WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05)
        try:
            return waiting.until(lambda _: self.run(script, *arguments))
        except TimeoutException:
            raise AssertionError(
                f"never: {what or script}\n{self.text()}\n{self.take_complaints()}"
            ) from None

    def see(self, words: str) -> None:
        """Wait until the page shows these words."""
        self.until(
            "return document.body.innerText.toLowerCase().includes(arguments[0])",
            words.lower(),
            what=f"the page shows {words!r}",
        )

    def press(self, label: str) -> None:
        """
        Wait for a button or link that can be used, by its text or label, and click.

        :raises AssertionError: there never is one.
        """
        self.until(_PRESS, label, what=f"{label!r} can be pressed")

    def text(self) -> str:
        """What the page shows, as text."""
        return str(self.run("return document.body.innerText"))

    def shoot(self, path: str) -> None:
        """Take a picture of what can be seen."""
        self.driver.save_screenshot(path)

    def take_complaints(self) -> list[str]:
        """Everything on the console so far that is a warning or worse."""
        self.complaints += [
            f"{entry['level']}: {entry['message']}"
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("WARNING", "SEVERE")
        ]
        return self.complaints

    def forget(self) -> None:
        """Leave the page, and forget what it complained of."""
        self.open("about:blank")
        self.take_complaints()
        self.complaints.clear()

    def overflow(self) -> int:
        """How many pixels the page can be scrolled sideways."""
        return int(
            self.run(
                "const page = document.scrollingElement;"
                "return page.scrollWidth - page.clientWidth"
            )
        )

    def quit(self) -> None:
        """Close it."""
        self.driver.quit()


_PRESS = """
const closed = [...document.querySelectorAll("details.menu:not([open]) button")].find(
  (one) => one.getAttribute("aria-label") === arguments[0]);
if (closed) {
  closed.closest("details").querySelector("summary").click();
  return false;
}
const usable = [...document.querySelectorAll("button, a, summary")].filter(
  (one) => !one.disabled && one.offsetParent !== null &&
    (one.getAttribute("aria-label") ?? one.innerText).trim() === arguments[0]);
const inside = usable.filter((one) => !document.querySelector("dialog[open]") ||
  one.closest("dialog[open]"));
if (!inside.length) return false;
inside[0].click();
return true;
"""


def all_of(*steps: Callable[[], object]) -> None:
    """Do several things, all of them, also when one fails."""
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]
