"""
``python -m benchmarks.pod_cluster``: a Kubernetes API server whose pods cost nothing.

It is the API server of the tests, with its schemas and HTTP. A pod is not a process:
this program dials the node for it over TLS, and answers like a game server. It prints
the path of its kubeconfig, and exits when its standard input ends.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from tests.support.kubernetes_api.kubelet import Kubelet, Running
from tests.support.kubernetes_api.objects import merged, now_text
from tests.support.kubernetes_api.server import PODS, ApiServer
from vinom.base.model import MatchEnd
from vinom.fleet.control import messages
from vinom.fleet.control.link import ControlClient, connect
from vinom.fleet.control.messages import AnyToServer
from vinom.net.keys.authority import NODE_PURPOSE
from vinom.net.lines.tls import OfContexts, check_peer, dialing_context


@attrs.define(eq=False)
class _StandIn:
    """Answers for one game server."""

    kubelet: StandIns
    one: Running
    client: ControlClient | None = None

    def received(self, message: AnyToServer) -> None:
        assert self.client is not None
        match message:
            case messages.Bind(port=port):
                self.client.send(messages.Bound(port))
            case messages.OpenRoom(plan=plan):
                self.client.send(messages.RoomOpened(plan.match_id))
            case messages.CloseRoom(match_id=match_id, reason=reason):
                self.client.send(messages.RoomEnded(MatchEnd(match_id, reason)))
                self.end()
            case messages.Heartbeat(number=number):
                self.client.send(messages.Alive(number, {}))
            case messages.Stop():
                self.end()

    def end(self) -> None:
        if self.client is not None:
            self.client.close()
        self.kubelet.gone(self.one)


class StandIns(Kubelet):
    """Dials the node for each pod."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server, reactor)
        self._contexts: dict[str, Any] = {}
        self._pods: dict[str, _StandIn] = {}

    def _start(self, uid: str) -> None:
        pod = self._pod(uid)
        if pod is None or uid in self.running:
            return
        meta = pod["metadata"]
        one = Running(uid, meta["name"], meta["namespace"])
        self.running[uid] = one
        self._pods[uid] = stand_in = _StandIn(self, one)
        self._update(
            uid,
            status={
                "phase": "Running",
                "hostIP": "127.0.0.1",
                "podIP": "127.0.0.1",
                "startTime": now_text(),
            },
        )
        variables = {
            each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]
        }
        dialing = Deferred.fromCoroutine(self._dial(stand_in, variables))
        dialing.addErrback(lambda _: self.gone(one))

    async def _dial(self, stand_in: _StandIn, variables: dict[str, str]) -> None:
        authority = variables["VINOM_GAMESERVER_AUTHORITY"]
        if authority not in self._contexts:
            self._contexts[authority] = dialing_context(authority.encode())
        host, _, port = variables["VINOM_GAMESERVER_NODE"].rpartition(":")
        endpoint = wrapClientTLS(
            OfContexts(lambda: self._contexts[authority]),
            HostnameEndpoint(reactor, host, int(port)),
        )
        ready = messages.Ready(
            variables["VINOM_GAMESERVER_ID"],
            1,
            messages.CONTROL_PROTOCOL,
            variables["VINOM_GAMESERVER_SECRET"].encode(),
        )
        stand_in.client = ControlClient(
            reactor,
            ready,
            stand_in.received,
            lambda: self.gone(stand_in.one),
            check=lambda transport: check_peer(transport, NODE_PURPOSE),
        )
        await connect(endpoint, stand_in.client)

    def _signal(self, one: Running, number: Any) -> None:
        stand_in = self._pods.get(one.uid)
        if stand_in is not None:
            stand_in.end()

    def gone(self, one: Running) -> None:
        """The pod's process has ended."""
        if self._pods.pop(one.uid, None) is None:
            return
        self.running.pop(one.uid, None)
        if one.killing is not None and one.killing.active():
            one.killing.cancel()
        pod = self._pod(one.uid)
        if pod is None:
            return
        ended = merged(pod, {"status": {"phase": "Succeeded"}})
        pod = self._server.objects.replace(PODS, ended, checks_version=False)
        if pod["metadata"].get("deletionTimestamp"):
            self._remove(one.uid)


class _Input(Protocol):
    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def dataReceived(self, data: bytes) -> None:
        """Answers with the number of pods."""
        count = len(self._server.objects.list(PODS))
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reactor.running:
            reactor.stop()


async def _serve() -> None:
    server = ApiServer(reactor)
    await server.start()
    StandIns(server)
    folder = Path(tempfile.mkdtemp(prefix="vinom-cluster-"))
    sys.stdout.write(f"{server.write_kubeconfig(folder / 'kubeconfig')}\n")
    sys.stdout.flush()
    StandardIO(_Input(server))


if __name__ == "__main__":
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(_serve()))
    reactor.run()
