"""The objects of a cluster, with versions and a history, and nothing of HTTP."""

from __future__ import annotations

import copy
import json
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs

from tests.support.kubernetes_api import schemas


class Failed(Exception):
    """
    A request is refused; the answer is a ``Status``.

    Source: API concepts, "Response status" of the API conventions
    (git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md).
    """

    def __init__(
        self, code: int, reason: str, message: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.retry_after = retry_after

    def status(self) -> dict[str, Any]:
        details = {}
        if self.retry_after is not None:
            details = {"details": {"retryAfterSeconds": self.retry_after}}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
            **details,
        }


@attrs.frozen
class Kind:
    """
    One kind of object.

    :ivar group: empty for the core group.
    :ivar validator: of whole objects.
    :ivar is_namespaced: has a namespace.
    :ivar create: called instead of storing a new object; its result is the answer. For
        kinds that are questions, such as a TokenReview.
    """

    group: str
    version: str
    plural: str
    name: str
    validator: Any
    is_namespaced: bool = True
    create: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@attrs.frozen
class Change:
    """One entry of the history; *before* is ``None`` for a new object."""

    version: int
    kind: Kind
    type: str
    value: dict[str, Any]
    before: dict[str, Any] | None


Key = tuple[str, str, str]


def now_text() -> str:
    """Write the time as objects have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Objects:
    """
    Every object of the cluster; each change gets the next resource version.

    :ivar version: of the latest change.
    :ivar retained: how many changes a watch can go back.
    :ivar watchers: called after each change.
    """

    def __init__(self, retained: int = 1000) -> None:
        self.version = 1000
        self.retained = retained
        self.kinds: dict[tuple[str, str], Kind] = {}
        self.watchers: list[Callable[[Change], None]] = []
        self._values: dict[Key, dict[str, Any]] = {}
        self._history: deque[Change] = deque()
        self._oldest = self.version

    def add_kind(self, kind: Kind) -> None:
        """Serve one more kind, as a CustomResourceDefinition would."""
        self.kinds[kind.group, kind.plural] = kind

    # Reading.

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """
        Find one.

        :raises Failed: 404, there is none.
        """
        value = self._values.get((kind.plural, namespace, name))
        if value is None:
            raise Failed(404, "NotFound", f'{kind.plural} "{name}" not found')
        return value

    def list(
        self, kind: Kind, namespace: str = "", selected: Any = lambda _: True
    ) -> list[dict[str, Any]]:
        """List those of a namespace; of all without one."""
        return [
            value
            for (plural, where, _), value in sorted(self._values.items())
            if plural == kind.plural
            and (not namespace or where == namespace)
            and selected(value)
        ]

    def since(self, version: int) -> Iterator[Change]:
        """
        List the changes after a version.

        Clients must handle 410: history is kept for a limited time only (source: API
        concepts, "410 Gone responses").

        :raises Failed: 410, they are forgotten.
        """
        if version < self._oldest:
            raise Failed(
                410,
                "Expired",
                f"too old resource version: {version} ({self._oldest})",
            )
        return iter([one for one in self._history if one.version > version])

    def forget_history(self) -> None:
        """Forget all changes up to now (compaction)."""
        self._history.clear()
        self._oldest = self.version

    # Writing.

    def create(self, kind: Kind, namespace: str, value: dict[str, Any]) -> Any:
        """
        Store a new object.

        ``generateName`` gets a suffix (source: reference/using-api/api-concepts/
        #generated-values).

        :raises Failed: 409, the name is taken; 422, it does not fit the schema.
        """
        value = copy.deepcopy(value)
        meta = value.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        if meta.get("resourceVersion"):
            raise Failed(
                400,
                "BadRequest",
                "resourceVersion should not be set on objects to be created",
            )
        if meta.get("namespace", namespace) != namespace:
            raise Failed(
                400,
                "BadRequest",
                "the namespace of the provided object does not match the namespace "
                "sent on the request",
            )
        self.check(kind, value)
        name = meta.get("name")
        if not name:
            raise Failed(
                422,
                "Invalid",
                f'{kind.name} "" is invalid: metadata.name: Required value: name or '
                "generateName is required",
            )
        if kind.is_namespaced:
            meta["namespace"] = namespace
        if (kind.plural, namespace, name) in self._values:
            raise Failed(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now_text()}
        if kind.name == "Pod":
            value["status"] = {"phase": "Pending"}
            value["spec"].setdefault("restartPolicy", "Always")
            value["spec"].setdefault("terminationGracePeriodSeconds", 30)
        self._store(kind, "ADDED", value, None)
        return value

    def replace(
        self,
        kind: Kind,
        value: dict[str, Any],
        *,
        checks_version: bool = True,
    ) -> dict[str, Any]:
        """
        Store a changed object.

        A resource version that is not the newest is a conflict (source: API concepts,
        "Resource versions", and the API conventions, "Concurrency control and
        consistency").

        :raises Failed: 404, 409 or 422.
        """
        meta = value.get("metadata", {})
        name, namespace = meta.get("name", ""), meta.get("namespace", "")
        before = self.get(kind, namespace, name)
        given = meta.get("resourceVersion")
        if checks_version and given and given != before["metadata"]["resourceVersion"]:
            raise Failed(
                409,
                "Conflict",
                f"Operation cannot be fulfilled on {kind.plural} "
                f'"{name}": the object has been modified; please apply your changes '
                "to the latest version and try again",
            )
        if meta.get("uid") not in (None, before["metadata"]["uid"]):
            raise Failed(
                409,
                "Conflict",
                f"Precondition failed: UID in precondition: {meta['uid']}, UID in "
                f"object meta: {before['metadata']['uid']}",
            )
        after = copy.deepcopy(value)
        for fixed in ("uid", "creationTimestamp"):
            after["metadata"][fixed] = before["metadata"][fixed]
        self.check(kind, after)
        if _without_version(after) == _without_version(before):
            return before
        self._store(kind, "MODIFIED", after, before)
        return after

    def remove(self, kind: Kind, value: dict[str, Any]) -> None:
        """Forget an object; the event has it as it was, with a new version."""
        meta = value["metadata"]
        key = (kind.plural, meta.get("namespace", ""), meta["name"])
        before = self._values.pop(key, None)
        if before is not None:
            self._store(kind, "DELETED", copy.deepcopy(before), before)

    def check(self, kind: Kind, value: Any) -> None:
        """
        Validate against the published schema.

        :raises Failed: 422, lists the fields.
        """
        wrong = schemas.problems(kind.validator, value)
        if wrong:
            name = value.get("metadata", {}).get("name", "")
            raise Failed(
                422,
                "Invalid",
                f'{kind.name} "{name}" is invalid: {"; ".join(wrong[:5])}',
            )

    def _store(self, kind: Kind, type: str, value: dict[str, Any], before: Any) -> None:
        self.version += 1
        meta = value["metadata"]
        meta["resourceVersion"] = str(self.version)
        if type != "DELETED":
            key = (kind.plural, meta.get("namespace", ""), meta["name"])
            self._values[key] = value
            # What leaves this server must fit the schema as well.
            wrong = schemas.problems(kind.validator, value)
            assert not wrong, wrong
        change = Change(
            self.version, kind, type, copy.deepcopy(value), copy.deepcopy(before)
        )
        self._history.append(change)
        while len(self._history) > self.retained:
            self._oldest = self._history.popleft().version
        for watcher in tuple(self.watchers):
            watcher(change)


def _without_version(value: dict[str, Any]) -> str:
    meta = {k: v for k, v in value["metadata"].items() if k != "resourceVersion"}
    return json.dumps({**value, "metadata": meta}, sort_keys=True)


def merged(before: Any, patch: Any) -> Any:
    """
    Apply a merge patch (RFC 7396): nil removes a member.

    Source: API concepts, "Patch and apply"; tasks/manage-kubernetes-objects/
    update-api-object-kubectl-patch/.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return copy.deepcopy(result)


# Selectors.


def by_labels(selector: str) -> Callable[[dict[str, Any]], bool]:
    """
    Read a label selector.

    Source: concepts/overview/working-with-objects/labels/#label-selectors.

    :raises Failed: 400, it cannot be read.
    """
    tests: list[Callable[[dict[str, str]], bool]] = []
    for part in _split(selector):
        tests.append(_label_test(part))
    return lambda value: all(
        test(value["metadata"].get("labels") or {}) for test in tests
    )


def _split(selector: str) -> list[str]:
    parts, depth, part = [], 0, ""
    for sign in selector:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and not depth:
            parts.append(part)
            part = ""
        else:
            part += sign
    return [one.strip() for one in [*parts, part] if one.strip()]


def _label_test(part: str) -> Callable[[dict[str, str]], bool]:
    for word, is_in in ((" notin ", False), (" in ", True)):
        if word in part:
            key, _, values = part.partition(word)
            wanted = {one.strip() for one in values.strip(" ()").split(",")}
            key = key.strip()
            return lambda labels: (labels.get(key) in wanted) is is_in
    for sign, is_equal in (("!=", False), ("==", True), ("=", True)):
        if sign in part:
            key, _, value = (one.strip() for one in part.partition(sign))
            return lambda labels: (labels.get(key) == value) is is_equal
    if part.startswith("!"):
        return lambda labels: part[1:] not in labels
    if " " in part:
        raise Failed(400, "BadRequest", f"unable to parse requirement: {part!r}")
    return lambda labels: part in labels


def by_fields(selector: str) -> Callable[[dict[str, Any]], bool]:
    """
    Read a field selector: metadata.name and a few more.

    Source: concepts/overview/working-with-objects/field-selectors/.

    :raises Failed: 400, such a field cannot be selected.
    """
    tests = []
    for part in filter(None, selector.split(",")):
        negative = "!=" in part
        path, _, wanted = part.replace("!=", "=").replace("==", "=").partition("=")
        if path not in (
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "status.phase",
        ):
            raise Failed(400, "BadRequest", f"field label not supported: {path}")
        tests.append((path.split("."), wanted, negative))

    def fits(value: Any) -> bool:
        for path, wanted, negative in tests:
            found = value
            for name in path:
                found = (found or {}).get(name)
            if ((found or "") == wanted) is negative:
                return False
        return True

    return fits
