"""A node whose game servers are pods: real programs, over a Kubernetes API server."""

from __future__ import annotations

from twisted.internet.threads import deferToThread

from tests.support.child_nodes import admin_of
from tests.support.pod_nodes import PodNodeCase
from tests.support.quick import QuickMaze
from vinom.tools.commands.child_node import free_port_range


class PodNodeTests(PodNodeCase):
    """What players and operators have of it; more in tests.alone.pods."""

    timeout = 60

    async def test_a_match(self) -> None:
        """
        Four players play a match in a pod, which is gone afterwards; when the node has
        stopped, nothing is left in the cluster.
        """
        node = await self.start("--warm=1")
        await self.warm(node, 1)
        (pod,) = self.pods()
        self.assertEqual(pod["metadata"]["labels"]["example.org/team"], "blue")
        await self.check_match(node)
        await self.until(lambda: pod["metadata"]["name"] not in str(self.pods()))
        await node.stop()
        self.assertEqual(self.pods(), [])
        self.assertEqual(self.kubelet.running, {})

    async def test_a_match_by_token(self) -> None:
        """
        The same, with a pod that the API server vouches for.
        """
        node = await self.start("--warm=1", proof="token")
        await self.warm(node, 1)
        await self.check_match(node)

    async def test_behind_the_relay(self) -> None:
        """
        Players who can reach no pod connect to the node: pods have no port of a
        machine and no address then.
        """
        first, last = free_port_range(3)
        node = await self.start(
            "--warm=1",
            "--udp=relay",
            f"--ports={first}-{last}",
            # Not where the node listens: what is before it has this name.
            f"--udp-address=localhost:{first}",
        )
        await self.warm(node, 1)
        (pod,) = self.pods()
        self.assertNotIn("ports", pod["spec"]["containers"][0])
        await self.check_match(node)
        await self.warm(node, 1)
        admin = admin_of(node)
        match = {"game": QuickMaze.name, "players": [{"name": "a"}, {"name": "b"}]}
        # Not here: the API server is served here.
        made = await deferToThread(admin.post, "matches", match)
        for seat in made["seats"]:
            found = seat["match_found"]
            self.assertEqual((found["host"], found["port"]), ("localhost", first))
