"""What is refused: requests without a right (RBAC), and objects beyond a quota."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from tests.support.kubernetes_api.objects import Failed, Kind, Objects

#: group, resource (with its subresource), verb
Right = tuple[str, str, str]


@attrs.define
class Access:
    """
    The rights of one user.

    Source: reference/access-authn-authz/rbac/, "Role and ClusterRole" and "Referring
    to resources": a subresource is written with a slash.

    :ivar rules: of Roles and ClusterRoles; ``None`` allows everything.
    :ivar used: every right that a request has needed.
    """

    user: str = "system:serviceaccount:games:vinom-node"
    rules: Sequence[dict[str, Any]] | None = None
    used: set[Right] = attrs.field(factory=set)

    def check(self, group: str, resource: str, verb: str) -> None:
        """
        Does the user have this right?

        :raises Failed: 403, worded as the real one.
        """
        self.used.add((group, resource, verb))
        if self.rules is None or (group, resource, verb) in self.granted():
            return
        raise Failed(
            403,
            "Forbidden",
            f'{resource} is forbidden: User "{self.user}" cannot {verb} resource '
            f'"{resource}" in API group "{group}"',
        )

    def granted(self) -> set[Right]:
        """List the rights that the rules give."""
        return {
            (group, resource, verb)
            for rule in self.rules or ()
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }


@attrs.define
class Quota:
    """
    A ResourceQuota of a namespace, for numbers of objects.

    What would exceed it is refused with 403 (source: concepts/policy/resource-quotas/
    "Object count quota").

    :ivar most: by plural: how many may exist. Pods that have ended do not count.
    """

    name: str = "games"
    most: dict[str, int] = attrs.field(factory=dict)

    def check(self, objects: Objects, kind: Kind, namespace: str, name: str) -> None:
        """
        May one more be created?

        :raises Failed: 403, it would exceed the quota.
        """
        most = self.most.get(kind.plural)
        if most is None:
            return
        used = sum(
            value.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            for value in objects.list(kind, namespace)
        )
        if used + 1 > most:
            raise Failed(
                403,
                "Forbidden",
                f'{kind.plural} "{name}" is forbidden: exceeded quota: {self.name}, '
                f"requested: {kind.plural}=1, used: {kind.plural}={used}, limited: "
                f"{kind.plural}={most}",
            )
