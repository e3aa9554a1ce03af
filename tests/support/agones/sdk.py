"""
The SDK's REST gateway of one game server: what runs beside it in its pod.

Source: agones.dev/site/docs/guides/client-sdks/rest.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from twisted.internet.interfaces import IListeningPort
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.support.agones.kinds import LABEL_SCHEMA, NOTHING_SCHEMA
from tests.support.kubernetes_api import schemas

#: What each request does to the state of a game server; ``None``: nothing.
_STATES = {
    ("POST", "/ready"): "Ready",
    ("POST", "/allocate"): "Allocated",
    ("POST", "/shutdown"): "Shutdown",
    ("POST", "/health"): None,
}


class Changer(Protocol):
    """Changes a game server of a name."""

    def change(self, name: str, **what: Any) -> None: ...


class SdkServer:
    """
    Listens on a port of its own.

    :ivar port: of the loopback.
    :ivar alive_at: when the game server last said that it is healthy.
    :ivar requests: method and path of each request.
    :ivar is_away: answer nothing but 503.
    """

    def __init__(self, reactor: Any, agones: Changer, name: str) -> None:
        self._reactor, self._agones, self._name = reactor, agones, name
        self._value: dict[str, Any] = {}
        self._watches: list[Request] = []
        self.alive_at: float | None = None
        self.requests: list[tuple[str, str]] = []
        self.is_away = False
        site = Site(_Root(self))
        site.displayTracebacks = False
        self._listening: IListeningPort = reactor.listenTCP(
            0, site, interface="127.0.0.1"
        )
        self.port: int = self._listening.getHost().port

    def stop(self) -> Any:
        """Listen no more, and end every watch."""
        self.cut_watches()
        return self._listening.stopListening()

    def cut_watches(self) -> None:
        """Drop the connections of all watches."""
        for watch in tuple(self._watches):
            watch.transport.abortConnection()

    def changed(self, value: dict[str, Any]) -> None:
        """Send the game server as it is now to all that watch."""
        self._value = value
        for watch in self._watches:
            watch.write(json.dumps({"result": self._shown()}).encode() + b"\n")

    def _shown(self) -> dict[str, Any]:
        """
        Write it as the SDK does: names with underscores, and numbers as texts.

        Source: the examples of "GameServer" and "Watch GameServer".
        """
        meta, status = self._value["metadata"], self._value["status"]
        return {
            "object_meta": {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
                "resource_version": meta["resourceVersion"],
                "generation": "1",
                "creation_timestamp": "1531795395",
                "annotations": meta.get("annotations", {}),
                "labels": meta.get("labels", {}),
            },
            "status": {
                "state": status["state"],
                "address": status.get("address", ""),
                "ports": status.get("ports", []),
            },
        }

    def answer(self, request: Request) -> Any:
        """Answer one request."""
        method, path = request.method.decode(), request.path.decode()
        self.requests.append((method, path))
        if self.is_away:
            request.setResponseCode(503)
            return b"{}"
        request.setHeader("content-type", "application/json")
        if (method, path) == ("GET", "/gameserver"):
            return json.dumps(self._shown()).encode()
        if (method, path) == ("GET", "/watch/gameserver"):
            self._watches.append(request)
            request.notifyFinish().addBoth(lambda _: self._watches.remove(request))
            # The head goes at once, not with the first event.
            request.write(b"")
            return NOT_DONE_YET
        body = json.loads(request.content.read())
        schema = LABEL_SCHEMA if path == "/metadata/label" else NOTHING_SCHEMA
        wrong = schemas.problems(schema, body)
        if request.getHeader("content-type") != "application/json" or wrong:
            request.setResponseCode(400)
            return json.dumps({"code": 3, "message": "; ".join(wrong)}).encode()
        if (method, path) == ("PUT", "/metadata/label"):
            # Source: guides/client-sdks/#setlabelkey-value: with this prefix.
            label = {f"agones.dev/sdk-{body['key']}": body["value"]}
            self._agones.change(self._name, metadata={"labels": label})
        elif (method, path) in _STATES:
            self._report(path, _STATES[method, path])
        else:
            request.setResponseCode(404)
        return b"{}"

    def _report(self, path: str, state: str | None) -> None:
        if path == "/health":
            self.alive_at = self._reactor.seconds()
        # What Agones has ended stays so (source: guides/client-sdks/
        # #function-reference).
        elif self._value["status"]["state"] not in ("Shutdown", "Unhealthy", "Error"):
            self._agones.change(self._name, status={"state": state})


class _Root(Resource):
    isLeaf = True

    def __init__(self, server: SdkServer) -> None:
        super().__init__()
        self._server = server

    def render(self, request: Request) -> Any:
        return self._server.answer(request)
