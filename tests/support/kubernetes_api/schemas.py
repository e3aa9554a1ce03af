"""Kubernetes' published schemas, compiled: an unknown field or kind is an error."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate

#: Whose schemas they are.
VERSION = "1.37.0"
_FOLDER = (
    Path(kubernetes_validate.__file__).parent
    / "kubernetes-json-schema"
    / f"v{VERSION}-local-strict"
)


@cache
def _read(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text(encoding="utf-8"))


@cache
def compiled(name: str) -> Any:
    """
    Compile one of the schemas.

    A validation takes 0.01 ms then; kubernetes-validate itself takes 12 ms.

    :param name: of its file, such as ``pod-v1``.
    """
    return jsonschema_rs.validator_for(
        _read(f"{name}.json"), retriever=lambda uri: _read(uri.rpartition("/")[2])
    )


def problems(validator: Any, value: Any) -> list[str]:
    """List what is wrong with a value, each with the path of the field."""
    return [
        f"{'.'.join(map(str, error.instance_path)) or '(root)'}: {error.message}"
        for error in validator.iter_errors(value)
    ]
