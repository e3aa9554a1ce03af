"""The API server of the tests, asked by Kubernetes' official client."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, Configuration, CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.config.kube_config import load_kube_config
from kubernetes.watch import Watch
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.kubernetes_api.kubelet import Kubelet
from tests.support.kubernetes_api.objects import Failed
from tests.support.kubernetes_api.server import ApiServer

#: Runs until it is asked to end.
SLEEPER = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); "
    "print('runs', flush=True); signal.pause()",
)
#: Runs until it is killed.
DEAF = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('runs', flush=True)\nwhile True: signal.pause()",
)


def pod_of(name: str, image: str = "sleeper", **more: Any) -> dict[str, Any]:
    """A small pod."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "test"}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "one", "image": image}],
            **more,
        },
    }


class KubernetesApiTests(TestCase):
    """What the fleet depends on is as upstream describes it."""

    timeout = 30

    async def setUp(self) -> None:
        self.server = ApiServer(reactor)
        await self.server.start()
        self.kubelet = Kubelet(self.server, reactor, {"sleeper": SLEEPER, "deaf": DEAF})
        path = Path(self.mktemp())
        self.server.write_kubeconfig(path)
        configuration = Configuration()
        load_kube_config(str(path), client_configuration=configuration)
        self.client = ApiClient(configuration)
        self.core = CoreV1Api(self.client)

    async def tearDown(self) -> None:
        self.client.close()
        await self.kubelet.stop()
        await self.server.stop()

    def ask(self, method: str, *arguments: Any, **more: Any) -> Deferred[Any]:
        """Call a method of the official client, in a thread."""
        return deferToThread(getattr(self.core, method), *arguments, **more)

    async def refused(self, *arguments: Any, **more: Any) -> ApiException:
        try:
            await self.ask(*arguments, **more)
        except ApiException as error:
            return error
        raise AssertionError("the request was not refused")

    async def until(self, is_so: Any) -> None:
        while not is_so():
            await deferLater(reactor, 0.01)

    async def create(self, name: str, image: str = "sleeper") -> Any:
        return await self.ask("create_namespaced_pod", "games", pod_of(name, image))

    def phase(self, name: str) -> str:
        for value in self.server.objects.list(self.server.objects.kinds["", "pods"]):
            if value["metadata"]["name"] == name:
                return value["status"]["phase"]
        return ""

    async def test_life_of_a_pod(self) -> None:
        """
        A pod is created, runs as a process, and is gone some time after its deletion.
        """
        made = await self.create("p1")
        self.assertTrue(made.metadata.uid)
        await self.until(lambda: "runs" in _output(self.kubelet))
        self.assertEqual(self.phase("p1"), "Running")
        found = await self.ask("read_namespaced_pod", "p1", "games")
        self.assertEqual(found.status.host_ip, "127.0.0.1")
        self.assertTrue(found.status.pod_ip.startswith("127."))
        await self.ask("delete_namespaced_pod", "p1", "games")
        await self.until(lambda: not self.phase("p1"))
        self.assertEqual(self.kubelet.running, {})

    async def test_grace(self) -> None:
        """
        A pod that does not end when it is asked to is killed after its grace.
        """
        await self.create("p1", "deaf")
        await self.until(lambda: "runs" in _output(self.kubelet))
        gone = await self.ask(
            "delete_namespaced_pod", "p1", "games", grace_period_seconds=30
        )
        self.assertTrue(gone.metadata.deletion_timestamp)
        self.assertEqual(self.phase("p1"), "Running")
        await self.ask("delete_namespaced_pod", "p1", "games", grace_period_seconds=1)
        await self.until(lambda: not self.phase("p1"))

    async def test_schema(self) -> None:
        """
        A field that Kubernetes does not know is refused, and named.
        """

        # The client has schemas of its own, which this goes around.
        def post() -> Any:
            rest = self.client.rest_client
            return rest.pool_manager.request(
                "POST",
                f"{self.server.url}/api/v1/namespaces/games/pods",
                json=pod_of("p1", hostNetwrok=True),
                headers={"authorization": f"Bearer {self.server.token}"},
            )

        answer = await deferToThread(post)
        self.assertEqual(answer.status, 422)
        self.assertIn("hostNetwrok", answer.json()["message"])

    async def test_taken_name(self) -> None:
        """
        Two pods cannot have one name.
        """
        await self.create("p1")
        error = await self.refused("create_namespaced_pod", "games", pod_of("p1"))
        self.assertEqual((error.status, error.reason), (409, "Conflict"))
        self.assertEqual(json.loads(error.body)["reason"], "AlreadyExists")

    async def test_preconditions(self) -> None:
        """
        A deletion that names another uid, or an old version, changes nothing.
        """
        made = await self.create("p1")
        await self.until(lambda: self.phase("p1") == "Running")
        for precondition in (
            {"uid": "somebody-else"},
            {"resourceVersion": made.metadata.resource_version},
        ):
            body = {"preconditions": precondition}
            error = await self.refused(
                "delete_namespaced_pod", "p1", "games", body=body
            )
            self.assertEqual(error.status, 409)
        body = {"preconditions": {"uid": made.metadata.uid}}
        await self.ask("delete_namespaced_pod", "p1", "games", body=body)

    async def test_quota(self) -> None:
        """
        A pod that would exceed the quota is refused, and the quota is named.
        """
        self.server.quota.most["pods"] = 1
        await self.create("p1")
        error = await self.refused("create_namespaced_pod", "games", pod_of("p2"))
        self.assertEqual(error.status, 403)
        self.assertIn("exceeded quota: games", error.body)

    async def test_rights(self) -> None:
        """
        What no role allows is refused.
        """
        self.server.access.rules = yaml.safe_load(
            "[{apiGroups: [''], resources: [pods], verbs: [get]}]"
        )
        error = await self.refused("list_namespaced_pod", "games")
        self.assertEqual(error.status, 403)
        self.assertIn("cannot list resource", error.body)

    async def test_pods_that_do_not_run(self) -> None:
        """
        A full cluster, and an image that is not there, are reported in the status.
        """
        self.kubelet.is_full = True
        await self.create("p1")
        await deferLater(reactor, 0.05)
        found = await self.ask("read_namespaced_pod", "p1", "games")
        (condition,) = found.status.conditions
        self.assertEqual(condition.reason, "Unschedulable")
        self.kubelet.is_full = False
        self.kubelet.retry()
        await self.create("p2", "no-such-image")
        await deferLater(reactor, 0.05)
        found = await self.ask("read_namespaced_pod", "p2", "games")
        (status,) = found.status.container_statuses
        self.assertEqual(status.state.waiting.reason, "ImagePullBackOff")

    async def test_watch(self) -> None:
        """
        A watch sees what there is and every change, and can go on where it stopped.
        """
        await self.create("p1")
        await self.until(lambda: self.phase("p1") == "Running")

        def watch(**more: Any) -> list[tuple[str, str]]:
            events = Watch().stream(
                self.core.list_namespaced_pod, "games", timeout_seconds=1, **more
            )
            return [(one["type"], one["object"].metadata.name) for one in events]

        self.assertEqual(await deferToThread(watch), [("ADDED", "p1")])
        before = str(self.server.objects.version)
        await self.ask("delete_namespaced_pod", "p1", "games")
        await self.until(lambda: not self.phase("p1"))
        seen = await deferToThread(watch, resource_version=before)
        self.assertEqual(seen[-1], ("DELETED", "p1"))

    async def test_watch_that_is_too_old(self) -> None:
        """
        A watch that asks for forgotten changes is told so.
        """
        before = str(self.server.objects.version - 1)
        await self.create("p1")
        self.server.objects.forget_history()

        def watch() -> list[Any]:
            answer = self.core.list_namespaced_pod(
                "games",
                watch=True,
                resource_version=before,
                _preload_content=False,
            )
            return [json.loads(line) for line in answer.data.splitlines()]

        (event,) = await deferToThread(watch)
        self.assertEqual((event["type"], event["object"]["code"]), ("ERROR", 410))

    async def test_bookmarks(self) -> None:
        """
        A quiet watch learns of newer versions.
        """
        version = self.server.objects.version
        reactor.callLater(0.3, self.server.bookmark)

        def watch() -> list[Any]:
            answer = self.core.list_namespaced_pod(
                "games",
                watch=True,
                resource_version=str(version),
                allow_watch_bookmarks=True,
                timeout_seconds=1,
                _preload_content=False,
            )
            return [json.loads(line) for line in answer.data.splitlines()]

        (event,) = await deferToThread(watch)
        self.assertEqual(event["type"], "BOOKMARK")
        self.assertEqual(event["object"]["metadata"]["resourceVersion"], str(version))

    async def test_disturbances(self) -> None:
        """
        Tests can have requests fail, and connections drop before and after the work.
        """
        self.server.disturb(
            "create", "pods", fails=Failed(500, "InternalError", "etcd is away")
        )
        error = await self.refused("create_namespaced_pod", "games", pod_of("p1"))
        self.assertEqual(error.status, 500)
        self.server.disturb("create", "pods", drops="after", times=4)
        await self.assertFailure(
            self.ask("create_namespaced_pod", "games", pod_of("p1")), Exception
        )
        self.assertTrue(self.phase("p1"))


def _output(kubelet: Kubelet) -> str:
    return "".join(one.output for one in kubelet.running.values())
