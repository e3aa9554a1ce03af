"""The HTTP of the API server: TLS, tokens, verbs, watches, and what disturbs them."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.support.kubernetes_api import schemas
from tests.support.kubernetes_api.access import Access, Quota
from tests.support.kubernetes_api.objects import (
    Change,
    Failed,
    Kind,
    Objects,
    by_fields,
    by_labels,
    merged,
    now_text,
)
from vinom.net.keys.authority import Authority

PODS = Kind("", "v1", "pods", "Pod", schemas.compiled("pod-v1"))
NODES = Kind("", "v1", "nodes", "Node", schemas.compiled("node-v1"), False)


@attrs.define
class Disturbance:
    """
    What happens to a request instead of, or before, its answer.

    :ivar verb: of the requests: get, list, watch, create, update, patch or delete.
    :ivar plural: of their kind.
    :ivar times: how many of them.
    :ivar delay: how long each waits, seconds.
    :ivar drops: "before": the connection closes and nothing is done; "after": it is
        done, and the connection closes instead of an answer.
    :ivar fails: answer this.
    """

    verb: str
    plural: str
    times: int = 1
    delay: float = 0.0
    drops: str = ""
    fails: Failed | None = None


@attrs.define(eq=False)
class _Watch:
    request: Request
    kind: Kind
    namespace: str
    selected: Callable[[dict[str, Any]], bool]
    has_bookmarks: bool

    def send(self, type: str, value: dict[str, Any]) -> None:
        event = {"type": type, "object": value}
        if type != "BOOKMARK":
            # A bookmark's object has a version only; a strict Pod needs a spec.
            wrong = schemas.problems(schemas.compiled("watchevent-meta-v1"), event)
            assert not wrong, wrong
        self.request.write(json.dumps(event).encode() + b"\n")

    def changed(self, change: Change) -> None:
        """
        Send a change, as this watch sees it.

        An object that no longer fits the selector is deleted for the watch, one that
        fits now is added (source: kube-apiserver, storage/cacher/cache_watcher.go,
        ``convertToWatchEvent``; the documentation is silent).
        """
        if change.kind is not self.kind:
            return
        meta = change.value["metadata"]
        if self.namespace and meta.get("namespace") != self.namespace:
            return
        fits = change.type != "DELETED" and self.selected(change.value)
        fitted = change.before is not None and self.selected(change.before)
        if fits:
            self.send("MODIFIED" if fitted else "ADDED", change.value)
        elif fitted:
            self.send("DELETED", change.value)


class ApiServer:
    """
    One cluster.

    :ivar objects: all that it keeps.
    :ivar access: the rights of the node's user.
    :ivar quota: of every namespace.
    :ivar requests: verb, plural and name of every request.
    :ivar authority_file: certifies it, PEM.
    :ivar token: of the node's user.
    """

    def __init__(self, reactor: Any, bookmark_seconds: float = 60.0) -> None:
        """
        :param bookmark_seconds: between two bookmarks; the real one sends about one
            per minute.
        """
        self.objects, self.access, self.quota = Objects(), Access(), Quota()
        self.requests: list[tuple[str, str, str]] = []
        self.token = "node-token"
        self._reactor, self._bookmark_seconds = reactor, bookmark_seconds
        self._folder = Path(tempfile.mkdtemp(prefix="vinom-kubernetes-"))
        self._disturbances: list[Disturbance] = []
        self._watches: list[_Watch] = []
        self._port: IListeningPort | None = None
        #: Called with a pod that is to be deleted and its grace; ``None``: nothing
        #: runs pods here, so they go at once.
        self.end_pod: Callable[[dict[str, Any], int], None] | None = None
        #: Tokens of pods: name and uid of the pod, and the audiences.
        self.pod_tokens: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        for kind in (PODS, NODES):
            self.objects.add_kind(kind)
        self.objects.add_kind(
            Kind(
                "authentication.k8s.io",
                "v1",
                "tokenreviews",
                "TokenReview",
                schemas.compiled("tokenreview-authentication-v1"),
                False,
                self._review,
            )
        )
        self.objects.watchers.append(self._changed)

    # Its life.

    async def start(self) -> None:
        """Listen on a free port of the loopback, with TLS."""
        authority = Authority.open(self._folder / "keys", "cluster.test", time.time)
        issued = authority.lobby(["127.0.0.1", "localhost"])
        self.authority_file = self._folder / "ca.pem"
        self.authority_file.write_bytes(authority.anchor)
        own = PrivateCertificate.loadPEM(issued.key + issued.certificate)
        self._site = _Site(_Root(self), timeout=None)
        self._site.displayTracebacks = False
        self._port = self._reactor.listenSSL(
            0, self._site, own.options(), interface="127.0.0.1"
        )
        self._bookmark = self._reactor.callLater(
            self._bookmark_seconds, self._bookmark_all
        )

    async def stop(self) -> None:
        """Close everything."""
        if self._bookmark.active():
            self._bookmark.cancel()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
            while self._site.connections:
                for one in tuple(self._site.connections):
                    one._channel.transport.abortConnection()
                await deferLater(self._reactor, 0.001)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self._port.getHost().port}"

    def write_kubeconfig(self, path: Path, namespace: str = "games") -> Path:
        """Write what a client outside of the cluster needs (in YAML's JSON subset)."""
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {
                            "name": "test",
                            "cluster": {
                                "server": self.url,
                                "certificate-authority": str(self.authority_file),
                            },
                        }
                    ],
                    "users": [{"name": "node", "user": {"token": self.token}}],
                    "contexts": [
                        {
                            "name": "test",
                            "context": {
                                "cluster": "test",
                                "user": "node",
                                "namespace": namespace,
                            },
                        }
                    ],
                    "current-context": "test",
                }
            )
        )
        return path

    # What tests do to it.

    def disturb(self, verb: str, plural: str, **what: Any) -> None:
        """Have the next such requests go wrong; see `Disturbance`."""
        self._disturbances.append(Disturbance(verb, plural, **what))

    def undisturb(self) -> None:
        """Have requests go right again."""
        self._disturbances.clear()

    def cut_watches(self) -> None:
        """Drop the connections of all watches."""
        for watch in tuple(self._watches):
            watch.request.transport.abortConnection()

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def bookmark(self) -> None:
        """Send a bookmark to every watch that wants them."""
        for watch in self._watches:
            self._send_bookmark(watch)

    def _bookmark_all(self) -> None:
        self._bookmark = self._reactor.callLater(
            self._bookmark_seconds, self._bookmark_all
        )
        self.bookmark()

    def _send_bookmark(self, watch: _Watch) -> None:
        """
        Source: API concepts, "Watch bookmarks": the object has the kind and a
        resource version, and nothing else that counts.
        """
        if watch.has_bookmarks:
            watch.send(
                "BOOKMARK",
                {
                    "kind": watch.kind.name,
                    "apiVersion": watch.kind.api_version,
                    "metadata": {"resourceVersion": str(self.objects.version)},
                },
            )

    # Requests.

    def _changed(self, change: Change) -> None:
        for watch in tuple(self._watches):
            watch.changed(change)

    async def serve(self, request: Request) -> Any:
        """
        Answer one request; ``None`` if it goes on.

        :raises Failed: it is refused.
        """
        if request.getHeader("authorization") != f"Bearer {self.token}":
            raise Failed(401, "Unauthorized", "Unauthorized")
        parts = request.path.decode().strip("/").split("/")
        if parts == ["version"]:
            return {"major": "1", "minor": "37", "gitVersion": f"v{schemas.VERSION}"}
        kind, namespace, name, subresource = self._route(parts)
        query = {
            key.decode(): values[-1].decode()
            for key, values in (request.args or {}).items()
        }
        text = request.content.read()
        verb = _verb(request.method.decode(), name, query)
        self.requests.append((verb, kind.plural, name))
        resource = kind.plural + (f"/{subresource}" if subresource else "")
        self.access.check(kind.group, resource, verb)
        disturbed = await self._disturbed(verb, kind.plural, request)
        if disturbed == "before":
            return None
        answer = self._act(
            request, kind, namespace, name, verb, query, _body(request, text)
        )
        if disturbed == "after":
            request.transport.abortConnection()
            return None
        return answer

    async def _disturbed(self, verb: str, plural: str, request: Request) -> str:
        for one in self._disturbances:
            if (one.verb, one.plural) == (verb, plural) and one.times > 0:
                one.times -= 1
                if one.delay:
                    await deferLater(self._reactor, one.delay)
                if one.fails is not None:
                    raise one.fails
                if one.drops == "before":
                    request.transport.abortConnection()
                return one.drops
        return ""

    def _route(self, parts: list[str]) -> tuple[Kind, str, str, str]:
        """
        Find what a path names (source: API concepts, "Resource URIs").
        """
        group = ""
        if parts[:1] == ["apis"] and len(parts) > 2:
            group, version, rest = parts[1], parts[2], parts[3:]
        elif parts[:1] == ["api"] and len(parts) > 1:
            version, rest = parts[1], parts[2:]
        else:
            raise Failed(404, "NotFound", "the server could not find the resource")
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = self.objects.kinds.get((group, rest[0] if rest else ""))
        if kind is None or kind.version != version or len(rest) > 3:
            raise Failed(404, "NotFound", "the server could not find the resource")
        return kind, namespace, *[*rest[1:], "", ""][:2]

    def _act(
        self,
        request: Request,
        kind: Kind,
        namespace: str,
        name: str,
        verb: str,
        query: dict[str, str],
        body: Any,
    ) -> Any:
        objects = self.objects
        match verb:
            case "get":
                return objects.get(kind, namespace, name)
            case "list":
                return self._list(kind, namespace, query)
            case "watch":
                self._watch(request, kind, namespace, query)
                return None
            case "create":
                return self._create(request, kind, namespace, body)
            case "update":
                body["metadata"].setdefault("namespace", namespace)
                return objects.replace(kind, body)
            case "patch":
                before = objects.get(kind, namespace, name)
                return objects.replace(kind, merged(before, body))
            case "delete":
                return self.delete(kind, namespace, name, query, body)
        raise Failed(405, "MethodNotAllowed", f"the server does not allow {verb}")

    def _list(
        self, kind: Kind, namespace: str, query: dict[str, str]
    ) -> dict[str, Any]:
        """
        List, in parts if the client has a limit.

        A token of a part that is too old is answered 410 (source: API concepts,
        "Retrieving large results sets in chunks").
        """
        found = self.objects.list(kind, namespace, _selected(query))
        version, after = self.objects.version, ""
        if "continue" in query:
            version, after = json.loads(base64.b64decode(query["continue"]))
            self.objects.since(version)
            found = [one for one in found if one["metadata"]["name"] > after]
        meta: dict[str, Any] = {"resourceVersion": str(version)}
        most = int(query.get("limit") or 0)
        if most and len(found) > most:
            found = found[:most]
            token = json.dumps([version, found[-1]["metadata"]["name"]])
            meta["continue"] = base64.b64encode(token.encode()).decode()
        return {
            "kind": f"{kind.name}List",
            "apiVersion": kind.api_version,
            "metadata": meta,
            "items": found,
        }

    def _watch(
        self, request: Request, kind: Kind, namespace: str, query: dict[str, str]
    ) -> None:
        """
        Begin a watch.

        Without a resource version, or with 0, it begins with what there is; with one it
        continues there, or gets 410 if that is too old (source: API concepts,
        "Semantics for watch" and "Efficient detection of changes"). It ends
        after timeoutSeconds (source: reference/kubernetes-api/common-parameters/).
        Events are lines of JSON that fit ``WatchEvent``. 410 arrives as an event of
        type ERROR, for the status line is sent already (source: API concepts,
        "410 Gone responses", and client-go's reflector, which expects both).
        """
        watch = _Watch(
            request,
            kind,
            namespace,
            _selected(query),
            query.get("allowWatchBookmarks") in ("true", "True", "1"),
        )
        request.setHeader("content-type", "application/json")
        since = query.get("resourceVersion") or "0"
        # The head goes at once, not with the first event.
        request.write(b"")
        if since == "0":
            for value in self.objects.list(kind, namespace, watch.selected):
                watch.send("ADDED", value)
        else:
            try:
                for change in self.objects.since(int(since)):
                    watch.changed(change)
            except Failed as gone:
                watch.send("ERROR", gone.status())
                request.finish()
                return
        self._watches.append(watch)
        ending = self._reactor.callLater(
            float(query.get("timeoutSeconds") or 1800), request.finish
        )

        def over(_: object) -> None:
            self._watches.remove(watch)
            if ending.active():
                ending.cancel()

        request.notifyFinish().addBoth(over)

    def _create(
        self, request: Request, kind: Kind, namespace: str, body: Any
    ) -> dict[str, Any]:
        if kind.create is not None:
            self.objects.check(kind, body)
            answer = kind.create(body)
            self.objects.check(kind, answer)
        else:
            meta = body.get("metadata") or {}
            name = meta.get("name") or meta.get("generateName", "")
            self.objects.check(kind, body)
            self.quota.check(self.objects, kind, namespace, name)
            answer = self.objects.create(kind, namespace, body)
        request.setResponseCode(201)
        return answer

    def delete(
        self, kind: Kind, namespace: str, name: str, query: dict[str, str], body: Any
    ) -> dict[str, Any]:
        """
        Delete; a pod that runs somewhere ends first.

        Preconditions that do not hold are a conflict (source:
        reference/kubernetes-api/common-definitions/delete-options/). A pod gets a
        deletionTimestamp and its grace, and is gone when the kubelet has ended it; one
        that is not scheduled is gone at once, and with a grace of 0 it is gone at once
        though its process may run (source: concepts/workloads/pods/pod-lifecycle/
        #pod-termination and #pod-termination-forced).
        """
        value = self.objects.get(kind, namespace, name)
        meta = value["metadata"]
        options = body or {}
        wrong = schemas.problems(schemas.compiled("deleteoptions-meta-v1"), options)
        if wrong:
            raise Failed(400, "BadRequest", "; ".join(wrong))
        for field, wanted in (options.get("preconditions") or {}).items():
            if meta.get(field) != wanted:
                raise Failed(
                    409,
                    "Conflict",
                    f"Operation cannot be fulfilled on {kind.plural} "
                    f'"{name}": Precondition failed: {field} in precondition: '
                    f"{wanted}, {field} in object meta: {meta.get(field)}",
                )
        if meta.get("finalizers"):
            # It goes when those are done (source: concepts/overview/
            # working-with-objects/finalizers/#how-finalizers-work).
            if not meta.get("deletionTimestamp"):
                changed = merged(value, {"metadata": {"deletionTimestamp": now_text()}})
                value = self.objects.replace(kind, changed, checks_version=False)
            return value
        if kind is not PODS:
            self.objects.remove(kind, value)
            return {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": {"name": name, "kind": kind.plural, "uid": meta["uid"]},
            }
        grace = options.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        if grace is None:
            grace = value["spec"]["terminationGracePeriodSeconds"]
        grace = int(grace)
        is_ended = value["status"]["phase"] in ("Succeeded", "Failed")
        is_scheduled = bool(value["spec"].get("nodeName"))
        before = meta.get("deletionGracePeriodSeconds")
        if self.end_pod is not None and is_scheduled and not is_ended and grace > 0:
            # A second request may shorten the grace, and not lengthen it.
            grace = grace if before is None else min(before, grace)
            if before is None or grace < before:
                changed = merged(
                    value,
                    {
                        "metadata": {
                            "deletionTimestamp": now_text(),
                            "deletionGracePeriodSeconds": grace,
                        }
                    },
                )
                value = self.objects.replace(kind, changed, checks_version=False)
                self.end_pod(value, grace)
        else:
            if self.end_pod is not None and is_scheduled and not is_ended:
                self.end_pod(value, 0)
            self.objects.remove(kind, value)
        return value

    def _review(self, asked: dict[str, Any]) -> dict[str, Any]:
        """
        Say whose token this is.

        The audiences that both the token and the question have; the pod is in the
        user's extra values (source: reference/access-authn-authz/
        service-accounts-admin/#bound-service-account-tokens and
        reference/kubernetes-api/authentication-resources/token-review-v1/).
        """
        spec = asked["spec"]
        name, uid, audiences = self.pod_tokens.get(spec.get("token", ""), ("", "", ()))
        common = [one for one in spec.get("audiences") or [] if one in audiences]
        if not common:
            status: dict[str, Any] = {
                "authenticated": False,
                "error": "[invalid bearer token, token audiences is invalid]",
            }
        else:
            status = {
                "authenticated": True,
                "audiences": common,
                "user": {
                    "username": "system:serviceaccount:games:vinom-gameserver",
                    "uid": "11111111-2222-3333-4444-555555555555",
                    "groups": ["system:serviceaccounts", "system:authenticated"],
                    "extra": {
                        "authentication.kubernetes.io/pod-name": [name],
                        "authentication.kubernetes.io/pod-uid": [uid],
                    },
                },
            }
        return {**asked, "metadata": {}, "status": status}


def _selected(query: dict[str, str]) -> Callable[[dict[str, Any]], bool]:
    labels = by_labels(query.get("labelSelector", ""))
    fields = by_fields(query.get("fieldSelector", ""))
    return lambda value: labels(value) and fields(value)


def _verb(method: str, name: str, query: dict[str, str]) -> str:
    """
    Name what is asked (source: reference/access-authn-authz/authorization/
    #determine-the-request-verb).
    """
    if method == "GET" and query.get("watch") in ("true", "True", "1"):
        return "watch"
    if method == "GET" and not name:
        return "list"
    return {
        "GET": "get",
        "POST": "create",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete" if name else "deletecollection",
    }[method]


def _body(request: Request, text: bytes) -> Any:
    if not text:
        return None
    if request.method == b"PATCH" and request.getHeader("content-type") not in (
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ):
        raise Failed(
            415, "UnsupportedMediaType", "this server applies merge patches only"
        )
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed(400, "BadRequest", f"the body is not JSON: {error}") from None


class _Site(Site):
    """Remembers its connections, to close them."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.connections: set[Any] = set()

    def buildProtocol(self, address: Any) -> Any:
        made = super().buildProtocol(address)
        lost = made.connectionLost

        def forget(reason: Any) -> None:
            self.connections.discard(made)
            lost(reason)

        made.connectionLost = forget
        self.connections.add(made)
        return made


class _Root(Resource):
    isLeaf = True

    def __init__(self, server: ApiServer) -> None:
        super().__init__()
        self._server = server

    def render(self, request: Request) -> int:
        served = Deferred.fromCoroutine(self._server.serve(request))
        served.addCallback(_answer, request)
        served.addErrback(_refuse, request)
        return NOT_DONE_YET


def _answer(value: Any, request: Request) -> None:
    if value is None or request._disconnected:
        return
    request.setHeader("content-type", "application/json")
    request.write(json.dumps(value).encode())
    request.finish()


def _refuse(failure: Any, request: Request) -> None:
    if request._disconnected:
        return
    error = failure.value
    if not isinstance(error, Failed):
        failure.printTraceback()
        error = Failed(500, "InternalError", str(error))
    request.setResponseCode(error.code)
    if error.retry_after is not None:
        request.setHeader("retry-after", str(error.retry_after))
    request.setHeader("content-type", "application/json")
    request.write(json.dumps(error.status()).encode())
    request.finish()
