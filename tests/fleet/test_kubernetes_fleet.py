"""
Pods keep to the contract of every fleet, and to what Kubernetes asks of its clients.

With ``VINOM_CLUSTER=1`` and ``KUBECONFIG`` the contract is tried on a real cluster, in
the namespace of its context, with the image ``VINOM_CLUSTER_IMAGE``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from tests.fleet.contract import ContractServer, FleetContract
from tests.support.clusters import OnCluster, until
from tests.support.kubernetes_api.objects import Failed, merged
from tests.support.kubernetes_api.server import NODES, PODS
from vinom.base.model import ServerAddress
from vinom.errors import NoCapacity
from vinom.fleet.kubernetes import api as kubernetes_api
from vinom.fleet.kubernetes import fleet as fleet_module
from vinom.fleet.kubernetes import pod as pod_module
from vinom.fleet.kubernetes.api import ApiError, KubernetesApi, PodWatch, find_cluster
from vinom.fleet.kubernetes.fleet import KubernetesFleet
from vinom.fleet.kubernetes.objects import MATCH, OWNER, is_running
from vinom.fleet.kubernetes.template import PodTemplate, read_pods
from vinom.fleet.port_ring import PortRing
from vinom.net.keys.authority import Authority

#: The image of a pod that ends when it is asked to.
SLEEPER = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); "
    "print('runs', flush=True)\nwhile True: signal.pause()",
)


class _OnCluster(OnCluster):
    """Pods of a node."""

    timeout = 120
    image = "sleeper"

    async def setUp(self) -> None:
        await super().setUp()
        self.pods: dict[str, Any] = {}
        self.kubelet.images["sleeper"] = SLEEPER

    def make_fleet(
        self, owner: str = "node-1", lease_seconds: float = 75
    ) -> KubernetesFleet:
        table = read_pods({"image": self.image, "grace_seconds": 5, **self.pods})
        api = self.api()
        fleet = KubernetesFleet(
            reactor,
            api,
            PodTemplate(table, owner, self.environment()),
            PortRing(*self.ports),
            os.urandom,
            lease_seconds=lease_seconds,
        )
        self.fleets.append(fleet)
        return fleet

    def environment(self) -> dict[str, str]:
        return {}


def waiting_status(message: str) -> dict[str, Any]:
    """The status of a pod whose image cannot be pulled."""
    waiting = {"waiting": {"reason": "ErrImagePull", "message": message}}
    container = {
        "name": "game-server",
        "image": "no-such-image",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": waiting,
    }
    return {"containerStatuses": [container]}


class PodContract(FleetContract):
    """The contract of every fleet, as pods keep it."""

    async def test_port_that_cannot_be_had(self) -> None:
        """
        A pod that cannot bind its port is replaced, because that is part of its spec;
        no address is lost.
        """
        fleet = self.make_fleet()
        reached, server = await self.started(fleet)
        server.refuses = 1
        server.need()
        await self.assertFailure(reached, NoCapacity)
        await server.gone
        self.assertEqual(fleet.addresses().free, 3)


class KubernetesContractTests(PodContract, _OnCluster):
    """The contract of every fleet, with the real game server in each pod."""

    image = "vinom-gameserver"

    def environment(self) -> dict[str, str]:
        authority = Authority.open(Path(self.mktemp()), "game.vinom", time.time)
        return {
            # Nobody listens there: these pods wait for their node.
            "VINOM_GAMESERVER_NODE": "127.0.0.1:9",
            "VINOM_GAMESERVER_AUTHORITY": authority.anchor.decode(),
        }


class RealClusterTests(PodContract, TestCase):
    """The same on a cluster that is there, with pods that only sleep."""

    timeout = 300
    skip = (
        None
        if os.environ.get("VINOM_CLUSTER") and os.environ.get("KUBECONFIG")
        else "needs VINOM_CLUSTER=1, and KUBECONFIG for a cluster to try it on"
    )

    async def setUp(self) -> None:
        self.fleets: list[KubernetesFleet] = []

    async def tearDown(self) -> None:
        for fleet in self.fleets:
            await fleet.close()

    def cluster(self) -> KubernetesApi:
        return KubernetesApi(reactor, find_cluster(os.environ["KUBECONFIG"], "", ""))

    def make_fleet(self) -> KubernetesFleet:
        table = read_pods(
            {
                "image": os.environ.get("VINOM_CLUSTER_IMAGE", "busybox:stable"),
                "command": ["sleep", "600"],
                "grace_seconds": 2,
                "spec": {"securityContext": {"runAsNonRoot": True, "runAsUser": 10001}},
            }
        )
        template = PodTemplate(table, f"contract-{os.urandom(4).hex()}", {})
        api = self.cluster()
        fleet = KubernetesFleet(
            reactor,
            api,
            template,
            PortRing(47000, 47002),
            os.urandom,
            lease_seconds=75,
        )
        self.fleets.append(fleet)
        return fleet

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await deferLater(reactor, 0.2)

    def is_running(self, fleet: KubernetesFleet, server_id: str) -> bool:
        pod = fleet._pods.get(server_id)
        return pod is not None and pod.value is not None and is_running(pod.value)

    def kill(self, fleet: KubernetesFleet, server_id: str) -> None:
        # From outside, by a client of its own.
        api = self.cluster()
        deleted = api.delete(fleet.handle(server_id).split()[0], 1)
        deleted.addBoth(lambda _: api.close())


class KubernetesFleetTests(_OnCluster):
    """What holds for pods in addition."""

    def begin(self, fleet: KubernetesFleet, server_id: str = "s1") -> Any:
        server = ContractServer(server_id)
        reached = fleet.start(server)
        return reached, server

    async def running(self, fleet: KubernetesFleet, server_id: str = "s1") -> Any:
        reached, server = self.begin(fleet, server_id)
        await until(lambda: self.is_running(fleet, server_id))
        return reached, server

    async def warm(self, fleet: KubernetesFleet, server_id: str = "s1") -> Any:
        """Run a pod whose address nobody waits for; returns its game server."""
        reached, server = await self.running(fleet, server_id)
        reached.addErrback(lambda failure: failure.trap(NoCapacity))
        return server

    def count(self, verb: str) -> int:
        """Count the requests of a kind that the API server got."""
        return [one for one, _, _ in self.server.requests].count(verb)

    async def test_pods_are_labelled(self) -> None:
        """
        An operator sees whose pod it is, and which match is played there.
        """
        fleet, _ = await self.needed()
        fleet.plays("s1", ("m-old", "m-1"))
        await until(lambda: MATCH in self.stored()[0]["metadata"]["labels"])
        labels = self.stored()[0]["metadata"]["labels"]
        self.assertEqual((labels[OWNER], labels[MATCH]), ("node-1", "m-1"))
        fleet.plays("s1", ())
        await until(lambda: MATCH not in self.stored()[0]["metadata"]["labels"])

    async def test_nothing_is_left(self) -> None:
        """
        When a node has stopped, nothing of it is left in the cluster.
        """
        fleet = self.make_fleet()
        reached, _ = await self.running(fleet)
        failed = self.assertFailure(reached, NoCapacity)
        await fleet.close()
        await failed
        self.assertEqual(self.stored(), [])

    async def test_secret_works_once(self) -> None:
        """
        Who reads a pod's spec later cannot pass for its game server.
        """
        fleet = self.make_fleet()
        await self.warm(fleet)
        env = self.stored()[0]["spec"]["containers"][0]["env"]
        secret = next(
            one["value"] for one in env if one["name"] == "VINOM_GAMESERVER_SECRET"
        ).encode()
        self.assertFalse(fleet.admits("s1", 1, b""))
        self.assertFalse(fleet.admits("s1", 1, secret[:-1] + b"?"))
        self.assertTrue(fleet.admits("s1", 1, secret))
        self.assertFalse(fleet.admits("s1", 1, secret))
        later = fleet.welcome("s1")
        self.assertTrue(fleet.admits("s1", 1, later))
        self.assertTrue(fleet.admits("s1", 1, later))
        self.assertEqual(fleet.welcome("s1"), b"")

    async def test_token(self) -> None:
        """
        Without a secret in the spec, a pod is known by the token of its own pod only.
        """
        self.pods = {"proof": "token"}
        fleet = self.make_fleet()
        for server_id in ("s1", "s2"):
            await self.warm(fleet, server_id)
        self.assertNotIn("SECRET", str(self.stored()))
        tokens = {
            name: f"token:{token}".encode()
            for token, (name, _, _) in self.server.pod_tokens.items()
        }
        own, other = (tokens[fleet.handle(one).split()[0]] for one in ("s1", "s2"))
        await until(lambda: all(p["status"].get("podIP") for p in self.stored()))
        for wrong in (other, b"token:invented", b"", b"token:\xff"):
            await fleet.prove("s1", wrong)
            self.assertFalse(fleet.admits("s1", 1, wrong))
        await fleet.prove("s1", own)
        self.assertTrue(fleet.admits("s1", 1, own))
        self.assertFalse(fleet.admits("s1", 1, own))

    async def test_quota(self) -> None:
        """
        A quota that is used up is one line in the log, with the quota's name.
        """
        self.server.quota.most["pods"] = 0
        fleet = self.make_fleet()
        for server_id in ("s1", "s2", "s3"):
            reached, server = self.begin(fleet, server_id)
            error = await self.assertFailure(reached, NoCapacity)
            self.assertIn("exceeded quota: games", str(error))
            self.assertEqual(server.exits, [])
        self.assertIn("exceeded quota: games", fleet.problem)
        self.server.quota.most.clear()
        await self.warm(fleet)
        # The pod may dial before the API server has answered.
        await until(lambda: not fleet.problem)

    async def test_image_and_machines(self) -> None:
        """
        An image that is not there, and a full cluster, are named as what they are.
        """
        self.pods = {"image": "no-such-image"}
        fleet = self.make_fleet()
        reached, _ = self.begin(fleet)
        await until(lambda: "image cannot be pulled" in fleet.problem)
        fleet.stop("s1", kill=True)
        error = await self.assertFailure(reached, NoCapacity)
        self.assertIn("image cannot be pulled", str(error))
        self.kubelet.is_full = True
        reached, _ = self.begin(fleet, "s2")
        await until(lambda: "Insufficient cpu" in fleet.problem)
        reached.addErrback(lambda f: f.trap(NoCapacity))
        self.kubelet.is_full = False
        self.kubelet.images["no-such-image"] = SLEEPER
        self.kubelet.retry()
        await until(lambda: not fleet.problem)

    async def test_api_server_away(self) -> None:
        """
        A request that gets no answer is repeated, and never makes a second pod.
        """
        fleet = self.make_fleet()
        self.fail_twice("create")
        self.server.disturb("create", "pods", drops="after")
        self.fail_twice("get")
        await self.warm(fleet)
        await deferLater(reactor, 0.1)
        self.assertEqual(len(self.stored()), 1)

    async def test_watch_is_lost(self) -> None:
        """
        Ends of pods are noticed when the watch was cut, and its history is gone; even
        if the API server does not answer at once when it is asked for a missing one.
        """
        fleet = self.make_fleet()
        servers = {}
        for server_id in ("s1", "s2"):
            servers[server_id] = await self.warm(fleet, server_id)
        await until(lambda: self.server.watches)
        self.server.disturb(
            "watch", "pods", times=2, fails=Failed(503, "ServiceUnavailable", "busy")
        )
        self.server.cut_watches()
        self.kill(fleet, "s1")
        await servers["s1"].gone
        self.fail_twice("get")
        for pod in self.stored():
            self.server.objects.remove(PODS, pod)
        self.server.objects.forget_history()
        self.server.cut_watches()
        await servers["s2"].gone
        self.assertGreaterEqual(self.count("get"), 3)

    def fail_twice(self, verb: str) -> None:
        """Have the next two requests fail, each in another way that passes."""
        self.server.disturb(verb, "pods", drops="before")
        self.server.disturb(
            verb, "pods", fails=Failed(500, "InternalError", "etcd is away")
        )

    async def test_label_is_written_later(self) -> None:
        """
        An operator sees which match a pod plays, even if the API server was away when
        the match came; and it is the newest match.
        """
        fleet, _ = await self.needed()
        self.fail_twice("patch")
        fleet.plays("s1", ("m-1",))
        fleet.plays("s1", ("m-1", "m-2"))
        await until(lambda: MATCH in self.stored()[0]["metadata"]["labels"])
        self.assertEqual(self.stored()[0]["metadata"]["labels"][MATCH], "m-2")

    async def needed(self) -> tuple[KubernetesFleet, ServerAddress]:
        """Run a pod, and reach it."""
        fleet = self.make_fleet()
        reached, server = await self.running(fleet)
        server.need()
        return fleet, await reached

    async def left(self) -> tuple[ServerAddress, str]:
        """Run a pod that its node leaves to the next; returns where, and its handle."""
        fleet, where = await self.needed()
        handle = fleet.handle("s1")
        fleet.release("s1")
        await fleet.close()
        return where, handle

    async def test_adopted_while_away(self) -> None:
        """
        A pod is adopted, and no other node deletes it later, even if the API server was
        away when this node started.
        """
        where, handle = await self.left()
        later, again = self.make_fleet("node-2"), ContractServer("s1")
        self.fail_twice("patch")
        self.assertTrue(later.adopt(again, handle, where))
        await until(lambda: self.stored()[0]["metadata"]["labels"][OWNER] == "node-2")

    async def test_stray_pod_is_deleted_later(self) -> None:
        """
        A pod that was made after its creation was given up is deleted, even if the API
        server was away at first.
        """
        fleet = self.make_fleet()
        await self.warm(fleet)
        self.fail_twice("delete")
        self.create("lost", "node-1")
        await until(lambda: len(self.stored()) == 2)
        await until(lambda: len(self.stored()) == 1)

    async def test_machine_is_lost(self) -> None:
        """
        A pod that is to be killed on a machine that is lost is over when its lease is,
        which counts from its last answer.
        """
        self.patch(pod_module, "_END_SECONDS", 0.3)
        fleet = self.make_fleet(lease_seconds=3600)
        server = await self.warm(fleet)
        self.kubelet.is_lost = True
        began = reactor.seconds()
        server.silence = 3600.0
        fleet.stop("s1", kill=True)
        await server.gone
        self.assertGreaterEqual(reactor.seconds() - began, 0.3)
        await until(lambda: not self.stored())

    async def test_released(self) -> None:
        """
        A pod that plays on for a later node is left alone, and adopted by it.
        """
        fleet, where = await self.needed()
        handle = fleet.handle("s1")
        fleet.release("s1")
        (pod,) = self.stored()
        self.server.objects.replace(
            PODS, merged(pod, {"metadata": {"labels": {"touched": "yes"}}})
        )
        await fleet.close()
        self.assertEqual(len(self.stored()), 1)
        later = self.make_fleet("node-2")
        again = ContractServer("s1")
        self.assertTrue(later.adopt(again, handle, where))
        self.assertEqual(later.addresses().bound, 1)
        await until(lambda: self.stored()[0]["metadata"]["labels"][OWNER] == "node-2")
        later.stop("s1")
        await again.gone
        self.assertEqual(later.addresses().free, 3)
        # One that is gone is reported as gone.
        gone = ContractServer("s2")
        self.assertTrue(later.adopt(gone, "vinom-s2-gone 00", where))
        await gone.gone
        # So is a process of a node whose game servers were no pods.
        process = ContractServer("s3")
        self.assertFalse(later.adopt(process, "4711 b0075-1d 12345", where))

    async def test_another_node_takes_it(self) -> None:
        """
        Another node writes its name on a pod. Its node neither takes that for the end
        of the pod nor writes its own name on it, and ends nothing when it closes.
        """
        fleet = self.make_fleet()
        ours = {"s1"}
        fleet.share(ours.__contains__)
        reached, server = await self.running(fleet)
        server.need()
        where, handle = await reached, fleet.handle("s1")
        later, again = self.make_fleet("node-2"), ContractServer("s1")
        later.share(lambda _: True)
        self.assertTrue(await later.reaches("s1", handle))
        self.assertFalse(await later.reaches("s2", handle))
        self.assertFalse(await later.reaches("s1", "vinom-s1-gone 00 vinom-s1-gone"))
        ours.clear()
        self.assertTrue(later.adopt(again, handle, where))
        await until(lambda: self.stored()[0]["metadata"]["labels"][OWNER] == "node-2")
        # The old node has asked, because of that, what has become of its pod.
        await until(
            lambda: "s1" in fleet._pods and "node-2" in str(fleet._pods["s1"].value)
        )
        fleet.release("s1")
        await fleet.close()
        await until(lambda: self.is_running(later, "s1"))
        self.assertEqual((server.gone.called, again.gone.called), (False, False))
        later.stop("s1")
        await again.gone

    async def test_gone_while_asked(self) -> None:
        """
        A pod goes while its node waits for an answer of before that: the game server is
        reported as ended at once, and that answer changes nothing.
        """
        fleet = self.make_fleet()
        fleet.share(lambda _: True)
        server = await self.warm(fleet)
        (pod,) = self.stored()
        late: Deferred[Any] = Deferred()
        self.patch(fleet._api, "find", lambda name: late)
        # Its node cannot tell this from another node's name on it.
        fleet._seen("deleted", pod)
        self.patch(fleet._api, "find", KubernetesApi.find.__get__(fleet._api))
        self.assertFalse(server.gone.called)
        self.server.objects.remove(PODS, pod)
        await server.gone
        late.callback(pod)
        self.assertFalse(self.is_running(fleet, "s1"))
        self.assertEqual(len(server.exits), 1)

    async def test_owner_is_not_certain(self) -> None:
        """
        A node that is started again writes its name on a pod only once it is certain
        that no other node has it.
        """
        where, handle = await self.left()
        ours: set[str] = set()
        later, again = self.make_fleet("node-2"), ContractServer("s1")
        later.share(ours.__contains__)
        self.assertTrue(later.adopt(again, handle, where))
        await until(lambda: self.is_running(later, "s1"))
        self.assertEqual(self.stored()[0]["metadata"]["labels"][OWNER], "node-1")
        ours.add("s1")
        later.call("s1")
        await until(lambda: self.stored()[0]["metadata"]["labels"][OWNER] == "node-2")

    def create(self, name: str, node: str) -> None:
        """Make a pod of a node, which no fleet here has asked for."""
        table, relayed = read_pods({"image": "sleeper"}), ServerAddress("node", 1)
        template = PodTemplate(table, node, {}, relayed)
        self.server.objects.create(PODS, "games", template.pod(name, name, "x", 0))

    async def beside_pods(self, node: str) -> KubernetesFleet:
        """Start a fleet that finds pods of a node: pending, running and ended."""
        for name in ("pending", "running", "ended"):
            self.create(name, node)
        await until(lambda: len(self.kubelet.running) == 3)
        for name, phase in (("pending", "Pending"), ("ended", "Failed")):
            pod = next(o for o in self.stored() if o["metadata"]["name"] == name)
            self.server.objects.replace(PODS, merged(pod, {"status": {"phase": phase}}))
        fleet = self.make_fleet(lease_seconds=0.1)
        await self.warm(fleet)
        return fleet

    async def test_pods_of_the_node_before(self) -> None:
        """
        A node finds pods of an earlier one of its name, without its files: it deletes
        those that never started or have ended. One that runs may have a match that
        another node has claimed; it ends by itself if not.
        """
        fleet = await self.beside_pods("node-1")
        await until(lambda: len(self.stored()) == 2)
        await deferLater(reactor, 0.5)
        await fleet.close()
        (left,) = self.stored()
        self.assertEqual(left["metadata"]["name"], "running")

    async def test_pods_of_other_nodes(self) -> None:
        """
        A node leaves the pods of other nodes alone, however long these are silent: it
        only deletes what is left of those that have ended.
        """
        self.patch(fleet_module, "_TIDY_SECONDS", 0.2)
        fleet = await self.beside_pods("node-9")
        await until(lambda: "'ended'" not in str(self.stored()))
        await deferLater(reactor, 1.0)
        await fleet.close()
        self.assertEqual(
            sorted(one["metadata"]["name"] for one in self.stored()),
            ["pending", "running"],
        )

    async def test_refused_for_a_while(self) -> None:
        """
        An API server that has just started refuses to delete: the pod is deleted when
        it has read the roles, and only one line is logged.
        """
        self.patch(kubernetes_api, "_AGAIN_LATER", 0.2)
        fleet = self.make_fleet()
        for name in ("s1", "s2"):
            await self.warm(fleet, name)
        no = Failed(403, "Forbidden", "it has not read the roles yet")
        self.server.disturb("delete", "pods", times=4, fails=no)
        with capturedLogs() as logged:
            self.kubelet.kill(str(self.stored()[0]["metadata"]["name"]))
            fleet.stop("s2")
            await until(lambda: not self.stored())
        self.assertEqual(str(logged).count("cannot be deleted"), 1)

    async def test_never_allowed(self) -> None:
        """
        Where deleting is forbidden for good, each pod that has ended is asked for once
        at a time, however often pods are listed.
        """
        self.patch(fleet_module, "_TIDY_SECONDS", 0.05)
        self.create("ended", "node-9")
        await until(lambda: len(self.kubelet.running) == 1)
        (pod,) = self.stored()
        self.server.objects.replace(PODS, merged(pod, {"status": {"phase": "Failed"}}))
        no = Failed(403, "Forbidden", "no role lets it")
        self.server.disturb("delete", "pods", times=100, fails=no)
        fleet = self.make_fleet()
        await self.warm(fleet)
        await until(lambda: self.count("list") >= 10)
        self.assertLessEqual(self.count("delete"), 1)
        self.server.undisturb()

    async def test_one_deletion(self) -> None:
        """
        A pod that was asked to end is deleted once, so its grace is not cut short.
        """
        fleet = self.make_fleet()
        server = await self.warm(fleet)
        fleet.stop("s1")
        await server.gone
        await until(lambda: not self.stored())
        await deferLater(reactor, 0.3)
        self.assertEqual(self.count("delete"), 1)

    async def test_host_port_in_use(self) -> None:
        """
        A pod whose host port another node's pod has on each machine is given up at
        once, so that the next one gets another port.
        """
        table = read_pods({"image": "sleeper"})
        taken = PodTemplate(table, "node-9", {}).pod("p9", "s9", "x", self.ports[0])
        self.server.objects.create(PODS, "games", taken)
        fleet = self.make_fleet()
        failed, _ = self.begin(fleet)
        why = await self.assertFailure(failed, NoCapacity)
        self.assertIn("free ports", str(why))
        reached, server = await self.running(fleet, "s2")
        server.need()
        self.assertEqual((await reached).port, self.ports[0] + 1)

    async def test_problem_is_logged_once(self) -> None:
        """
        A problem that comes again with another pod, or that the kubelet words in turn
        in two ways, is one line in the log; another problem is another line.
        """
        no = Failed(403, "Forbidden", "")
        fleet = self.make_fleet()
        for number in range(4):
            no.message = (
                f'pods "vinom-s{number}-qx7{number}" is forbidden: exceeded quota: '
                f"games, requested: pods=1, used: pods={number}, limited: pods=9"
            )
            self.server.disturb("create", "pods", fails=no)
            with capturedLogs() as logged:
                reached, _ = self.begin(fleet, f"s{number}")
                await self.assertFailure(reached, NoCapacity)
            self.assertEqual(str(logged).count("no game servers"), number == 0)
        self.assertIn("used: pods=3", fleet.problem)
        self.image = "no-such-image"
        fleet = self.make_fleet("node-2")
        with capturedLogs() as logged:
            reached, _ = self.begin(fleet)
            reached.addErrback(lambda failure: failure.trap(NoCapacity))
            await until(lambda: "Back-off" in fleet.problem)
            for words in ("rpc error: not found", "Back-off") * 3:
                (pod,) = self.stored()
                self.kubelet._update(
                    pod["metadata"]["uid"], status=waiting_status(words)
                )
                await until(lambda words=words: words in fleet.problem)
        self.assertEqual(str(logged).count("no game servers"), 1)

    async def test_pod_security(self) -> None:
        """
        A pod with nothing but an image meets the level "restricted" of Pod Security,
        if the node relays its players.
        """
        table, relayed = read_pods({"image": "sleeper"}), ServerAddress("node", 1)
        template = PodTemplate(table, "node-1", {}, relayed)
        spec = template.pod("p1", "s1", "x", 30000)["spec"]
        (container,) = spec["containers"]
        self.assertEqual(
            spec["securityContext"],
            {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        )
        self.assertFalse(container["securityContext"]["allowPrivilegeEscalation"])
        self.assertEqual(
            container["securityContext"]["capabilities"], {"drop": ["ALL"]}
        )
        self.assertNotIn("ports", container)
        self.assertNotIn("hostNetwork", spec)

    async def test_watch_after_an_outage(self) -> None:
        """
        After an outage of the API server the history is gone: the pods are listed again
        at once, however long the outage was.
        """
        done: list[str] = []
        over: Deferred[None] = Deferred()

        class Away:
            """An API server that is away for a while, and starts with no history."""

            lists = watches = 0

            def list_now(self, selector: str) -> tuple[list[Any], str]:
                self.lists += 1
                done.append("list")
                return [], "1"

            def watch_now(self, selector: str, version: str) -> Any:
                self.watches += 1
                if self.lists == 2:
                    reactor.callFromThread(over.callback, None)
                    time.sleep(0.2)
                if self.watches < 9:
                    raise ApiError(0, "NoAnswer", "it is away")
                raise ApiError(410, "Expired", "too old resource version")

        def chance() -> float:
            done.append("wait")
            return 0.0

        self.patch(kubernetes_api, "RETRY_SECONDS", (0.001, 0.01))
        api: Any = Away()
        watch = PodWatch(reactor, api, "", lambda _: None, lambda *_: None, chance)
        watch.start()
        await over
        await watch.stop()
        self.assertEqual(done[:10], ["list", *["wait"] * 8, "list"])

    async def test_rights(self) -> None:
        """
        The role gives a node what it uses, and no more.
        """
        self.pods = {"proof": "token", "address": "external"}
        fleet = self.make_fleet()
        reached, server = await self.running(fleet)
        await fleet.prove("s1", b"token:x")
        server.need()
        await reached
        fleet.plays("s1", ("m-1",))
        await until(lambda: MATCH in str(self.stored()))
        # After a lost connection it looks for a pod that no list has.
        for pod in self.stored():
            self.server.objects.remove(PODS, pod)
        self.server.objects.forget_history()
        self.server.cut_watches()
        await server.gone
        reached, _ = await self.running(fleet, "s2")
        failed = self.assertFailure(reached, NoCapacity)
        await fleet.close()
        await failed
        access = self.server.access
        self.assertEqual(access.used, access.granted())

    async def test_host_port(self) -> None:
        """
        A pod with a host port has it from the start, and is reached there.
        """
        self.pods = {"address": "external"}
        fleet = self.make_fleet()
        reached, server = await self.running(fleet)
        self.assertEqual(fleet.addresses().free, 3)
        server.need()
        where = await reached
        port = self.stored()[0]["spec"]["containers"][0]["ports"][0]
        self.assertEqual((port["hostPort"], port["containerPort"]), (where.port, 7700))
        self.assertEqual(fleet.addresses().free, 2)

    async def test_no_port_is_free(self) -> None:
        """
        Each pod has a port of its own, also a warm one; the settings are named when
        there is none left.
        """
        fleet = self.make_fleet()
        for server_id in ("s1", "s2", "s3"):
            await self.warm(fleet, server_id)
        failed, _ = self.begin(fleet, "s4")
        why = await self.assertFailure(failed, NoCapacity)
        self.assertIn("no port is free: widen ports", str(why))
        self.assertEqual(fleet.addresses().free, 3)

    async def test_address(self) -> None:
        """
        Players are sent the address of the machine that the settings choose; the
        setting is named if the machine has no such address.
        """
        for wanted, host in (("internal", "127.0.0.1"), ("a.example", "a.example")):
            self.pods = {"address": wanted}
            fleet, where = await self.needed()
            self.assertEqual(where.address, host)
            await fleet.close()
        self.pods = {"address": "external"}
        (machine,) = self.stored(NODES)
        bare = merged(machine, {"status": {"addresses": []}})
        self.server.objects.replace(NODES, bare)
        fleet = self.make_fleet()
        reached, server = await self.running(fleet)
        server.need()
        await self.assertFailure(reached, NoCapacity)
        self.assertIn("worker-1 has no external address", fleet.problem)

    async def test_closed_while_a_machine_is_lost(self) -> None:
        """
        A node stops although a pod of it is not seen to end.
        """
        self.patch(fleet_module, "_CLOSE_SECONDS", 0.3)
        fleet = self.make_fleet()
        server = await self.warm(fleet)
        self.kubelet.is_lost = True
        await fleet.close()
        self.assertTrue(server.gone.called)
