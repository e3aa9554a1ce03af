"""
Kubernetes' official client, used in threads because its calls block.

`Requests` repeats what must be answered. `PodWatch` watches the pods of this node, in a
thread, as long as the node runs.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Literal

import attrs
from kubernetes.client import (
    ApiClient,
    AuthenticationV1Api,
    Configuration,
    CoreV1Api,
)
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import load_incluster_config
from kubernetes.config.kube_config import list_kube_config_contexts, load_kube_config
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from vinom.errors import Misconfigured, VinomError
from vinom.fleet.kubernetes.objects import Object

#: How long connecting, and waiting for an answer, may take, seconds.
TIMEOUTS = (3.0, 10.0)
#: Requests at once; more wait.
THREADS = 8
#: Most objects of one answer to a list.
_PART = 500
#: After this a watch is started again, seconds. Bookmarks come each minute, so a
#: connection that is silent for longer is dead.
_WATCH_SECONDS = 290
_SILENT_SECONDS = 120.0
#: Selects pods in the phases Succeeded and Failed, by their fields.
ENDED = "status.phase!=Pending,status.phase!=Running,status.phase!=Unknown"
#: Waits between the attempts at one request, seconds.
_AGAIN = (0.2, 1.0, 3.0)
#: Later waits, for requests that are repeated until they are answered, seconds.
_AGAIN_LATER = 10.0

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ApiError(VinomError):
    """
    The API server refused a request, or did not answer.

    :ivar status: HTTP status; 0 if there was no answer, so that the request may have
        been carried out.
    :ivar reason: the API server's code for it, such as "AlreadyExists".
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason

    @property
    def is_passing(self) -> bool:
        """May the same request succeed a little later?"""
        return self.status in (0, 429) or self.status >= 500


@attrs.frozen
class Cluster:
    """
    How a cluster is reached.

    :ivar configuration: configuration of the official client.
    :ivar namespace: where pods are made.
    """

    configuration: Any
    namespace: str


def find_cluster(kubeconfig: str, context: str, namespace: str) -> Cluster:
    """
    Find the cluster from a kubeconfig file, or from the pod in which this node runs.

    :param kubeconfig: path of the file; empty for the pod's own service account.
    :param context: context in the file; empty for its current one.
    :param namespace: empty for the namespace of the context, or of the pod.
    :raises Misconfigured: there is no cluster, or the file cannot be used.
    """
    configuration = Configuration()
    found = (
        _read_kubeconfig(kubeconfig, context, configuration)
        if kubeconfig
        else _read_service_account(namespace, configuration)
    )
    configuration.retries = False
    configuration.connection_pool_maxsize = THREADS + 2
    return Cluster(configuration, namespace or found or "default")


def _read_service_account(namespace: str, configuration: Any) -> str:
    """Read how this node's own pod reaches its cluster; returns the namespace."""
    try:
        load_incluster_config(client_configuration=configuration)
        return namespace or _NAMESPACE_FILE.read_text().strip()
    except ConfigException as error:
        raise Misconfigured(
            "this node makes pods, and does not run in one with a service account "
            f"({error}): set pods.kubeconfig to a file"
        ) from error
    except OSError as error:
        raise Misconfigured(f"the service account of this pod: {error}") from error


def _read_kubeconfig(name: str, context: str, configuration: Any) -> str:
    """Read a kubeconfig file; returns the namespace of its context, if it has one."""
    path = Path(os.path.expanduser(name)).absolute()
    try:
        path.read_bytes()
        load_kube_config(
            str(path), context=context or None, client_configuration=configuration
        )
        contexts, current = list_kube_config_contexts(str(path))
        chosen = next((one for one in contexts if one["name"] == context), current)
        return str(chosen["context"].get("namespace", ""))
    except OSError as error:
        raise Misconfigured(
            f"cannot read kubeconfig {path}: {error.strerror}; set it to a file that "
            "the node's user can read"
        ) from error
    except ConfigException as error:
        raise Misconfigured(
            f"kubeconfig {path} cannot be used: {error}; set pods.kubeconfig to "
            "another file, or pods.context to one of its contexts"
        ) from error
    except Exception as error:
        # The client reads any YAML as if it were a kubeconfig.
        raise Misconfigured(
            f"kubeconfig {path} is not a kubeconfig file: set pods.kubeconfig to a "
            "file that kubectl can use"
        ) from error


class KubernetesApi:
    """
    The requests of the fleet, each in a thread of a small pool.

    :ivar namespace: namespace of all objects.
    """

    def __init__(self, reactor: Any, cluster: Cluster) -> None:
        """
        :param reactor: its thread gets the results.
        :param cluster: the cluster to send requests to.
        """
        self._reactor, self.namespace = reactor, cluster.namespace
        self._client = ApiClient(cluster.configuration)
        self._core = CoreV1Api(self._client)
        self._authentication = AuthenticationV1Api(self._client)
        self._pool = ThreadPool(0, THREADS, "kubernetes")
        self._pool.start()
        # Otherwise the threads keep a process alive that stops without closing this.
        self._trigger = reactor.addSystemEventTrigger(
            "during", "shutdown", self._pool.stop
        )

    def close(self) -> Deferred[None]:
        """End the threads; the result comes when no request runs."""
        stopped: Deferred[None] = Deferred()
        self._reactor.removeSystemEventTrigger(self._trigger)

        def stop() -> None:
            self._pool.stop()
            with suppress(Exception):
                self._client.close()
            self._reactor.callFromThread(stopped.callback, None)

        # `ThreadPool.stop` waits for its threads, so it must not be in one of them.
        self._reactor.callInThread(stop)
        return stopped

    def _ask(
        self, call: Callable[..., Any], *arguments: Any, **more: Any
    ) -> Deferred[Object]:
        """Call the client in a thread; the result is JSON, as Python has it."""
        asked: Deferred[Object] = deferToThreadPool(
            self._reactor, self._pool, ask, call, *arguments, **more
        )
        return asked

    # Game servers.

    def create_pod(self, pod: Object) -> Deferred[Object]:
        """Create a pod; fails with `ApiError`, as all of these do."""
        return self._ask(self._core.create_namespaced_pod, self.namespace, pod)

    def find(self, name: str) -> Deferred[Object]:
        """Read a game server."""
        return self._ask(self._core.read_namespaced_pod, name, self.namespace)

    def delete(self, name: str, grace: int, uid: str = "") -> Deferred[Object]:
        """
        End a game server.

        :param grace: how long it may take, seconds. With 0 its object is removed at
            once, even if it still runs.
        :param uid: refuse to end another one of this name.
        """
        body: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": grace,
        }
        if uid:
            body["preconditions"] = {"uid": uid}
        return self._ask(
            self._core.delete_namespaced_pod, name, self.namespace, body=body
        )

    def label(self, name: str, labels: dict[str, str | None]) -> Deferred[Object]:
        """Set labels of a game server; ``None`` removes one."""
        return self._ask(
            self._core.patch_namespaced_pod,
            name,
            self.namespace,
            body={"metadata": {"labels": labels}},
            _content_type="application/merge-patch+json",
        )

    def find_all(self, selector: str, **narrowed: str) -> Deferred[list[Object]]:
        """List game servers, as `list_now` does."""
        listed: Deferred[list[Object]] = deferToThreadPool(
            self._reactor,
            self._pool,
            lambda: self.list_now(selector, **narrowed)[0],
        )
        return listed

    # Machines and tokens.

    def find_machine(self, name: str) -> Deferred[Object]:
        """Read a Node: a machine of the cluster."""
        return self._ask(self._core.read_node, name)

    def review(self, token: str, audience: str) -> Deferred[Object]:
        """Check whose token this is; the result is the status of a TokenReview."""
        return self._ask(
            self._authentication.create_token_review,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token, "audiences": [audience]},
            },
        ).addCallback(lambda found: found.get("status") or {})

    # For the thread of a watch.

    def list_now(self, selector: str, **narrowed: str) -> tuple[list[Object], str]:
        """
        List game servers, in parts; blocks.

        :param selector: selects them by their labels.
        :param narrowed: more arguments of the client's function.
        :returns: the game servers, and the resource version to watch from.
        :raises ApiError: the list is not complete.
        """
        found: list[Object] = []
        more: dict[str, Any] = {}
        while True:
            listed = ask(
                self._core.list_namespaced_pod,
                self.namespace,
                label_selector=selector,
                limit=_PART,
                **narrowed,
                **more,
            )
            found += listed["items"]
            meta = listed["metadata"]
            if not meta.get("continue"):
                return found, str(meta["resourceVersion"])
            more = {"_continue": meta["continue"]}

    def watch_now(self, selector: str, version: str) -> Any:
        """
        Begin a watch of game servers; blocks until it is accepted.

        :param version: continue after this resource version.
        :raises ApiError: it is refused.
        """
        return _asked(
            self._core.list_namespaced_pod,
            self.namespace,
            label_selector=selector,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH_SECONDS,
            watch=True,
            _request_timeout=(TIMEOUTS[0], _SILENT_SECONDS),
        )


def ask(call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """
    Call the client; blocks.

    :returns: the answer's JSON; the client's classes take ten times as long, and refuse
        fields that a newer API server adds.
    :raises ApiError: the request is refused, or there is no answer.
    """
    answer = _asked(call, *arguments, **{"_request_timeout": TIMEOUTS, **more})
    try:
        return json.loads(answer.data)
    except Exception as error:
        raise ApiError(0, "NoAnswer", f"the answer is cut off: {error}") from error
    finally:
        answer.release_conn()


def _asked(call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    try:
        answer = call(*arguments, _preload_content=False, **more)
    except ApiException as error:
        raise _refusal(error.status, error.reason, error.body) from error
    except ValueError as error:
        # The client validates requests with its own classes.
        raise ApiError(422, "Invalid", str(error)) from error
    except Exception as error:
        # urllib3 raises many types, and lets errors of sockets and TLS through.
        raise ApiError(
            0, "NoAnswer", f"the API server cannot be reached: {error}"
        ) from error
    if answer.status >= 400:
        raise _refusal(answer.status, "", answer.data)
    return answer


def _refusal(code: Any, reason: Any, body: Any) -> ApiError:
    try:
        status = json.loads(body)
        reason, message = str(status["reason"]), str(status["message"])
    except (TypeError, ValueError, KeyError):
        reason = " ".join(str(reason).split())
        message = f"HTTP {code} {reason}" if code else f"no answer: {reason}"
    return ApiError(int(code or 0), reason, message)


#: Makes a request.
Ask = Callable[[], Deferred[Object]]


class Requests:
    """
    Repeat requests of a fleet, which end with it.

    :ivar api: the cluster's.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, api: KubernetesApi, chance: Callable[[], float]
    ) -> None:
        """
        :param reactor: the clock.
        :param api: the cluster's.
        :param chance: returns random numbers from 0 to 1.
        """
        self._reactor, self.api, self._chance = reactor, api, chance
        self._is_closed = self._is_forbidden = False
        self._pauses: set[Deferred[None]] = set()
        # Objects that are being removed.
        self._removing: set[tuple[str, int, str]] = set()

    def close(self) -> None:
        """Repeat nothing any more."""
        self._is_closed = True
        for pause in tuple(self._pauses):
            pause.cancel()

    async def answered(
        self, ask: Ask, is_wanted: Callable[[], bool], is_endless: bool = True
    ) -> Object:
        """
        Repeat a request until the API server answers.

        :param is_wanted: is the answer still needed?
        :param is_endless: is it repeated more than a few times?
        :raises ApiError: the answer is a refusal, or is not needed any more.
        """
        waits = chain(_AGAIN, repeat(_AGAIN_LATER) if is_endless else ())
        while True:
            try:
                return await ask()
            except ApiError as error:
                wait = next(waits, None)
                if not error.is_passing or wait is None:
                    raise
                self._log.debug(
                    "a request is repeated, because it was not answered: {why}",
                    why=str(error),
                )
            await self._wait(wait, is_wanted)

    async def delete(
        self, name: str, grace: int, uid: str, is_wanted: Callable[[], bool]
    ) -> bool:
        """
        End a pod: repeat that until the API server carries it out, or nobody needs it.

        :param grace: see `KubernetesApi.delete`.
        :returns: is the object gone already, or another one has its name?
        :raises ApiError: the request is wrong.
        """
        try:
            await self._delete(name, grace, uid, is_wanted)
        except ApiError as error:
            if error.status not in (0, 404, 409):
                raise
            return error.status != 0
        return False

    async def _delete(
        self, name: str, grace: int, uid: str, is_wanted: Callable[[], bool]
    ) -> None:
        # An API server that has just started refuses everything until it has read the
        # roles.
        while True:
            try:
                await self.answered(
                    lambda: self.api.delete(name, grace, uid), is_wanted
                )
            except ApiError as error:
                if error.status not in (401, 403):
                    raise
                if not self._is_forbidden:
                    self._is_forbidden = True
                    self._log.warn(
                        "pods cannot be deleted: {why}; this is tried again", why=error
                    )
                await self._wait(_AGAIN_LATER, is_wanted)
            else:
                self._is_forbidden = False
                return

    def remove(self, name: str, grace: int, uid: str = "") -> None:
        """Delete the object of a pod that is over, unless it is gone already."""
        asked = name, grace, uid
        if asked in self._removing:
            # It is listed again and again while nobody may delete it.
            return
        self._removing.add(asked)
        begin(
            self.delete(*asked, lambda: True),
            self._log.warn,
            "pod {name} cannot be deleted: {why}",
            name=name,
        ).addBoth(lambda _: self._removing.discard(asked))

    async def _wait(self, seconds: float, is_wanted: Callable[[], bool]) -> None:
        """
        Wait for about this long.

        :raises ApiError: the request is not needed any more.
        """
        await self.pause(seconds * (0.5 + self._chance()))
        if self._is_closed or not is_wanted():
            raise ApiError(0, "NotWanted", "it is not needed any more")

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than the fleet exists."""
        pause: Deferred[None] = deferLater(self._reactor, seconds)
        self._pauses.add(pause)
        try:
            await pause
        except CancelledError:
            pass
        finally:
            self._pauses.discard(pause)


def begin(
    work: Coroutine[Deferred[Any], Any, Any],
    log: Callable[..., None],
    what: str,
    **values: str,
) -> Deferred[None]:
    """
    Begin some work, and log why it fails.

    :param log: logs it, at a level.
    :param what: what failed, and ``{why}``.
    """
    return Deferred.fromCoroutine(work).addErrback(
        lambda failure: log(what, **values, why=failure.getErrorMessage())
    )


#: Shortest and longest wait after a failure, seconds; half or more of it at random.
RETRY_SECONDS = (0.25, 30.0)

#: Gets a change of one pod.
Seen = Callable[[Literal["changed", "deleted"], Object], None]


class PodWatch:
    """
    List the pods, then watch their changes; list again if the history is gone.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
    #efficient-detection-of-changes
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        api: KubernetesApi,
        selector: str,
        listed: Callable[[list[Object]], None],
        seen: Seen,
        chance: Callable[[], float],
    ) -> None:
        """
        :param reactor: its thread gets the changes.
        :param api: the cluster's.
        :param selector: selects the pods by their labels.
        :param listed: gets all pods, at first and whenever changes may be missing.
        :param seen: gets each change.
        :param chance: returns random numbers from 0 to 1.
        """
        self._reactor, self._api, self._selector = reactor, api, selector
        self._listed, self._seen, self._chance = listed, seen, chance
        self._is_over = threading.Event()
        self._answer: Any = None
        self._ended: Deferred[None] = Deferred()
        # Failures one after the other; and answers that the history is gone.
        self._failures = self._stale = 0

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._run, name="kubernetes watch", daemon=True).start()

    def stop(self) -> Deferred[None]:
        """End the thread, which was started; the result comes when it has ended."""
        self._is_over.set()
        answer = self._answer
        if answer is not None:
            # This ends a read that is under way.
            with suppress(Exception):
                answer.shutdown()
        return self._ended

    # In the thread.

    def _run(self) -> None:
        version: str | None = None
        while not self._is_over.is_set():
            try:
                if version is None:
                    pods, version = self._api.list_now(self._selector)
                    self._tell(self._listed, pods)
                version = self._watch(version)
            except ApiError as error:
                if error.status == 410:
                    version = None
                    self._log.debug(
                        "the watch of pods lists them again: {why}", why=error
                    )
                    # The API server has answered. At once the first time: it may have
                    # compacted its history, or started.
                    self._failures, self._stale = self._stale, self._stale + 1
                    if self._stale == 1:
                        continue
                self._wait(error)
            except Exception as error:
                self._wait(error)
        self._reactor.callFromThread(self._ended.callback, None)

    def _watch(self, version: str) -> str | None:
        """
        Watch until the watch ends.

        :returns: the version to go on from.
        :raises ApiError: it was refused; 410 if the next changes are no longer stored.
        """
        answer = self._answer = self._api.watch_now(self._selector, version)
        try:
            # `stop` could not end an answer that was not there yet.
            for event in () if self._is_over.is_set() else _events(answer):
                if self._is_over.is_set():
                    break
                value = event["object"]
                if event["type"] == "ERROR":
                    raise ApiError(
                        int(value.get("code") or 500),
                        str(value.get("reason", "")),
                        str(value.get("message", "")),
                    )
                version = str(value["metadata"]["resourceVersion"])
                self._failures = self._stale = 0
                if event["type"] == "DELETED":
                    self._tell(self._seen, "deleted", value)
                elif event["type"] != "BOOKMARK":
                    self._tell(self._seen, "changed", value)
        except ApiError:
            raise
        except Exception as error:
            # The connection was lost: go on from the last version.
            if not self._is_over.is_set():
                self._wait(error)
        finally:
            self._answer = None
            with suppress(Exception):
                answer.close()
        return version

    def _wait(self, error: Exception) -> None:
        if self._is_over.is_set():
            return
        least, most = RETRY_SECONDS
        seconds = min(most, least * 2 ** min(self._failures, 10))
        self._failures += 1
        seconds *= (1 + self._chance()) / 2
        log = self._log.warn if self._failures == 3 else self._log.debug
        log(
            "the watch of pods failed, and is tried again in {s:.1f} s: {why}",
            s=seconds,
            why=str(error),
        )
        self._is_over.wait(seconds)

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        self._reactor.callFromThread(self._told, what, *arguments)

    # In the reactor's thread.

    def _told(self, what: Callable[..., None], *arguments: Any) -> None:
        if not self._is_over.is_set():
            what(*arguments)


def _events(answer: Any) -> Iterator[Object]:
    """Split an answer into events, one per line."""
    held = b""
    for part in answer.stream(64 * 1024):
        *lines, held = (held + part).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
