"""``/health`` and ``/ready``, for load balancers, and ``/echo``, for players."""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import Request

from vinom.net.web.answers import Folder, Page, answer


class Health(Page):
    """Answer 200 always: the process runs."""

    def render_GET(self, request: Request) -> bytes:
        return answer(request, {"status": "ok"})


class Ready(Page):
    """Answer 200 if players can be sent here, or 503 with the reason."""

    def __init__(self, obstacle: Callable[[], str | None]) -> None:
        """
        :param obstacle: returns the reason why not; ``None`` if they can.
        """
        super().__init__()
        self._obstacle = obstacle

    def render_GET(self, request: Request) -> bytes:
        obstacle = self._obstacle()
        if obstacle is None:
            return answer(request, {"status": "ready"})
        return answer(request, {"status": obstacle}, 503)


class Echo(Page):
    """Answer 204, at once, for players who measure how far this node is."""

    def render_GET(self, request: Request) -> bytes:
        # Pages of other nodes measure it too.
        request.setHeader("access-control-allow-origin", "*")
        request.setHeader("cache-control", "no-store")
        request.setResponseCode(204)
        return b""


def health_pages(obstacle: Callable[[], str | None]) -> Folder:
    """Make these pages; *obstacle* as in `Ready`."""
    return Folder(health=Health(), ready=Ready(obstacle), echo=Echo())
