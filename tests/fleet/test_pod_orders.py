"""
What is known of a pod, in every order in which changes, answers and failures arrive.

Each case is one pod, what happens to it in the cluster, and what this node asks about
it. All orders are tried in which changes are made, watched, and answered; one request
may get no answer, and the watch may be lost once and list anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.contract import ContractServer
from tests.support.kubernetes_api.objects import merged
from vinom.base.model import ServerAddress
from vinom.errors import NoCapacity
from vinom.fleet.kubernetes import fleet as fleet_module
from vinom.fleet.kubernetes.api import ApiError
from vinom.fleet.kubernetes.fleet import KubernetesFleet
from vinom.fleet.kubernetes.objects import OWNER, is_ended, is_running, label_of
from vinom.fleet.kubernetes.template import PodTemplate, read_pods
from vinom.fleet.port_ring import PortRing

RUNS = {"status": {"phase": "Running", "podIP": "10.0.0.1", "hostIP": "10.0.0.1"}}
ENDED = {"status": {"phase": "Failed"}}
TAKEN = {"metadata": {"labels": {OWNER: "node-2"}}}
BACK = {"metadata": {"labels": {OWNER: "node-1"}}}
TOUCHED = {"metadata": {"labels": {"touched": "yes"}}}
#: The object is removed.
GONE = None

#: Orders that are tried where there are too many.
_SOME = 100

#: What happens to the pod, in this order.
Changes = Sequence[dict[str, Any] | None]
#: Chooses one of so many things that may happen next.
Choose = Callable[[int], int]


class HandWatch:
    """Instead of `PodWatch`: the test brings what it would see."""

    def __init__(self, *given: Any) -> None:
        *_, self.listed, self.seen, _ = given

    def start(self) -> None:
        """There is no thread."""

    def stop(self) -> Deferred[None]:
        raise NotImplementedError


@attrs.define(eq=False)
class Request:
    """
    One request.

    :ivar carry_out: what the API server does.
    :ivar answer: of the API server; ``None`` before.
    """

    carry_out: Callable[[], Any]
    asked: Deferred[Any] = attrs.field(factory=Deferred)
    answer: Any = None


class Cluster:
    """
    The API server, as far as one pod is concerned.

    It reads and writes in one order, as etcd does; answers and events of the watch may
    arrive later, events among each other in their order.

    :ivar pod: as it is; ``None`` before it is made, and when it is gone.
    :ivar was_watched: before the last change.
    :ivar requests: that have no answer yet.
    :ivar events: that the watch has not seen yet.
    """

    namespace = "games"

    def __init__(self) -> None:
        self.version = 100
        self.was_watched = False
        self.pod: dict[str, Any] | None = None
        self.requests: list[Request] = []
        self.events: list[tuple[str, Any]] = []

    def set(self, pod: dict[str, Any] | None) -> Any:
        before, self.version = self.pod, self.version + 1
        if pod is not None:
            pod = copy.deepcopy(pod)
            pod["metadata"]["resourceVersion"] = str(self.version)
        self.pod = pod
        was, is_now = _is_watched(before), _is_watched(pod)
        self.was_watched = was
        if is_now:
            self.events.append(("changed", pod))
        elif was:
            # As it was.
            self.events.append(("deleted", before))
        return pod

    def list_anew(self) -> None:
        """The watch is lost, and what it had not seen yet; it begins again here."""
        self.events = [("listed", [self.pod] if _is_watched(self.pod) else [])]

    def _ask(self, carry_out: Callable[[], Any]) -> Deferred[Any]:
        request = Request(carry_out)
        self.requests.append(request)
        return request.asked

    def _existing(self) -> dict[str, Any]:
        if self.pod is None:
            raise ApiError(404, "NotFound", "there is none")
        return self.pod

    def create_pod(self, pod: dict[str, Any]) -> Deferred[Any]:
        def create() -> Any:
            if self.pod is not None:
                raise ApiError(409, "AlreadyExists", "it is there")
            return self.set(merged(pod, {"metadata": {"uid": "u1"}, "status": {}}))

        return self._ask(create)

    def find(self, name: str) -> Deferred[Any]:
        return self._ask(self._existing)

    def label(self, name: str, labels: dict[str, Any]) -> Deferred[Any]:
        return self._ask(
            lambda: self.set(merged(self._existing(), {"metadata": {"labels": labels}}))
        )

    def find_all(self, selector: str, **narrowed: str) -> Deferred[Any]:
        # What is left of other nodes' pods is another matter.
        return Deferred()

    def delete(self, name: str, grace: int, only: Any = None) -> Deferred[Any]:
        def remove() -> Any:
            self._existing()
            return self.set(None)

        return self._ask(remove)


def _is_watched(pod: dict[str, Any] | None) -> bool:
    return pod is not None and label_of(pod, OWNER) == "node-1"


class Run:
    """One order of what happens."""

    def __init__(self, changes: Changes, choose: Choose) -> None:
        self.clock, self.cluster = Clock(), Cluster()
        self.server = ContractServer("s1")
        self.server.need()
        self.changes, self.choose = list(changes), choose
        self.may_fail = self.may_relist = True
        self.has_paused = False
        template = PodTemplate(
            read_pods({"image": "i", "grace_seconds": 5}), "node-1", {}
        )
        api: Any = self.cluster
        self.template = template
        self.fleet = KubernetesFleet(
            self.clock,
            api,
            template,
            PortRing(47000, 47002),
            bytes,
            lease_seconds=75,
        )
        self.is_ours, self.is_made = True, False
        self.words: list[str] = []

    @property
    def watch(self) -> Any:
        return self.fleet._watch

    def start(self) -> None:
        """Have this node make the pod."""
        self.is_made = True
        reached = self.fleet.start(self.server)
        reached.addErrback(lambda failure: failure.trap(NoCapacity))

    def adopt(self, owner: str) -> None:
        """Have this node adopt a pod of an earlier node, or of another one."""
        pod = self.template.pod("p1", "s1", "x", 0)
        marks = {"uid": "u1", "labels": {OWNER: owner}}
        self.cluster.pod = merged(pod, {"metadata": marks, **RUNS})
        self.cluster.list_anew()
        where = ServerAddress("10.0.0.1", 47000)
        assert self.fleet.adopt(self.server, f"p1 {b'x'.hex()}", where)

    def play(self) -> None:
        """Let things happen until nothing is left but what waits for the clock."""
        while steps := list(self._steps()):
            # In the first order there is, once this node believes that it is over.
            is_open = len(steps) > 1 and not self.server.exits
            word, step = steps[self.choose(len(steps)) if is_open else 0]
            self.words.append(word)
            step()

    def _steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        cluster = self.cluster
        if self.changes and (cluster.pod is not None):
            yield "change", self._change
        if cluster.events:
            yield f"see {cluster.events[0][0]}", self._see
        for number, request in enumerate(cluster.requests):
            if request.answer is None:
                yield f"carry out {number}", lambda one=request: self._carry_out(one)
            else:
                yield f"answer {number}", lambda one=request: self._answer(one)
            if self.may_fail:
                yield f"lose {number}", lambda one=request: self._fail(one)
        if self.may_relist and self.changes:
            yield "list anew", self._list_anew

    def _change(self) -> None:
        change = self.changes.pop(0)
        self.cluster.set(None if change is None else merged(self.cluster.pod, change))

    def _see(self) -> None:
        how, what = self.cluster.events.pop(0)
        if how == "listed":
            self.watch.listed(what)
        else:
            self.watch.seen(how, what)

    def _carry_out(self, request: Request) -> None:
        try:
            request.answer = request.carry_out()
        except ApiError as error:
            request.answer = error
        if request.answer is None:
            request.answer = {}

    def _answer(self, request: Request) -> None:
        self.cluster.requests.remove(request)
        answer = request.answer
        if isinstance(answer, ApiError):
            request.asked.errback(answer)
        else:
            request.asked.callback(answer)

    def _fail(self, request: Request) -> None:
        self.may_fail, self.has_paused = False, True
        self.cluster.requests.remove(request)
        request.asked.errback(ApiError(0, "NoAnswer", "it was lost"))

    def _list_anew(self) -> None:
        self.may_relist = False
        self.cluster.list_anew()

    # What is known at last.

    def problem(self) -> str:
        """What this node does not know, or believes wrongly; empty if all is well."""
        pod, known = self.cluster.pod, self.fleet._pods.get("s1")
        if pod is None or is_ended(pod):
            if known is not None and known.ending is None:
                if not (self.is_ours or self.cluster.was_watched):
                    # Of no concern here: another node has it, as the claim will show.
                    return ""
                return "it is over, and nobody has noticed"
            return "" if len(self.server.exits) == 1 else "its end was not reported"
        if known is None or self.server.exits:
            return "it is believed to be over"
        if _is_watched(pod) and (known.value is None or not _is_same(known.value, pod)):
            return "an older state of it is believed"
        if self.is_made and is_running(pod) and not self.server.binds:
            return "it runs, and nobody was sent there"
        if not _is_watched(pod) and self.is_ours:
            return "it is this node's, and another name is on it"
        return ""


def _is_same(one: Any, other: Any) -> bool:
    return bool(
        one["metadata"]["resourceVersion"] == other["metadata"]["resourceVersion"]
    )


def orders(play: Callable[[Choose], None]) -> int:
    """
    Play all orders, one after the other.

    :param play: plays one; chooses with what it is given.
    :returns: how many there were.
    """
    path: list[tuple[int, int]] = []
    count = 0
    while True:
        at = 0

        def choose(options: int) -> int:
            nonlocal at
            if at == len(path):
                path.append((0, options))
            chosen, known = path[at]
            assert known == options
            at += 1
            return chosen

        play(choose)
        count += 1
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        if not path:
            return count
        chosen, options = path.pop()
        path.append((chosen + 1, options))


class PodOrdersTests(SynchronousTestCase):
    """`KubernetesFleet`, and one pod."""

    def setUp(self) -> None:
        self.patch(fleet_module, "PodWatch", HandWatch)

    def look(self, changes: Changes, begin: Callable[[Run], None], run: Run) -> str:
        """Play one order; what is wrong, in the end."""
        begin(run)
        run.play()
        problem = run.problem()
        if problem and run.has_paused:
            # A request that got no answer is made again after a while.
            run.clock.pump([1.0] * 30)
            run.play()
            problem = run.problem()
        return f"{problem}: {', '.join(run.words)}" if problem else ""

    def try_all(
        self,
        changes: Changes,
        begin: Callable[[Run], None],
        may_fail: bool = True,
        may_relist: bool = True,
    ) -> None:
        """Play all orders; what happened is known without waiting for a clock."""
        wrong: list[str] = []

        def play(choose: Choose) -> None:
            run = Run(changes, choose)
            run.may_fail, run.may_relist = may_fail, may_relist
            wrong.extend(filter(None, [self.look(changes, begin, run)]))

        count = orders(play)
        self.assertEqual(wrong[:3], [], f"{len(wrong)} of {count} orders")

    def try_some(self, changes: Changes, begin: Callable[[Run], None]) -> None:
        """Play some orders, where there are too many."""
        for number in range(_SOME):
            run = Run(changes, Random(number).randrange)
            self.assertEqual(self.look(changes, begin, run), "", f"order {number}")

    def test_made(self) -> None:
        """
        A pod that this node makes: it is known that it runs, and that it has ended.
        """
        for changes in ([RUNS], [RUNS, GONE], [GONE], [ENDED], [RUNS, ENDED]):
            self.try_all(changes, Run.start, may_fail=False)
            self.try_all(changes, Run.start, may_relist=False)

    def test_adopted(self) -> None:
        """
        A pod that this node has had before it was started again.
        """
        for changes in ([RUNS, GONE], [GONE], [ENDED], [TOUCHED]):
            self.try_all(changes, lambda run: run.adopt("node-1"), may_fail=False)
            self.try_all(changes, lambda run: run.adopt("node-1"), may_relist=False)

    def test_from_another_node(self) -> None:
        """
        A pod that this node takes over: its name is written on it at last.
        """
        for changes in ([RUNS, GONE], [GONE], [ENDED], [TOUCHED]):
            self.try_some(changes, lambda run: run.adopt("node-0"))

    def test_shared(self) -> None:
        """
        A pod that another node may take, or has taken: it is over when it is gone, and
        not when another name is on it.
        """
        for owner in ("node-1", "node-0"):
            for changes in ([GONE], [TAKEN], [TAKEN, GONE], [TAKEN, BACK, ENDED]):
                for is_ours in (False, True):

                    def begin(
                        run: Run, owner: str = owner, is_ours: bool = is_ours
                    ) -> None:
                        run.is_ours = is_ours
                        run.fleet.share(lambda _: is_ours)
                        run.adopt(owner)

                    self.try_some(changes, begin)

    def test_lost_request(self) -> None:
        """
        A pod that is gone is believed gone as soon as the watch reports that, also if
        an earlier request about it got no answer and is about to be made again.
        """
        run = Run([GONE], lambda options: 0)
        run.fleet.share(lambda _: True)
        run.adopt("node-1")
        cluster = run.cluster
        run._see()
        run._fail(cluster.requests[0])
        run._change()
        run._see()
        (again,) = cluster.requests
        run._carry_out(again)
        run._answer(again)
        self.assertEqual(len(run.server.exits), 1)

    def test_slow_request(self) -> None:
        """
        The same, if the API server has not answered that request yet.
        """
        run = Run([GONE], lambda options: 0)
        run.fleet.share(lambda _: True)
        run.adopt("node-1")
        run._see()
        run._change()
        run._see()
        _, again = run.cluster.requests
        run._carry_out(again)
        run._answer(again)
        self.assertEqual(len(run.server.exits), 1)
