"""What makes two jobs the same: everything that their results depend on, and how files are named in it."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from framencc.spec import PATH_FIELDS, WRITTEN_FIELDS, RunSpec

_PATH_FACTS = ("path", "first_file", "last_file")
# What may differ between a run and the one that goes on with it: results do not depend on these.
_FREE_OPTIONS = ("resume", "overwrite", "threads", "limits", "verify")


def identify(spec: RunSpec, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Put together what results depend on: the options, and facts about files and versions."""
    options = json.loads(spec.model_dump_json(exclude=set(_FREE_OPTIONS)))
    for name in PATH_FIELDS:
        *sections, last = name.split(".")
        section = options
        for part in sections:
            section = section[part]
        if isinstance(section[last], str):
            section[last] = place(section[last]) if name in WRITTEN_FIELDS else os.path.realpath(section[last])
    return {"options": options, **_without_paths(facts)}


def _without_paths(facts: Any) -> Any:
    """Leave out how files were named: what is in them counts, and one path has many spellings."""
    if isinstance(facts, dict):
        return {name: _without_paths(value) for name, value in facts.items() if name not in _PATH_FACTS}
    return facts


def differences(then: Any, now: Any, name: str = "") -> list[str]:
    """Name what differs between two values as JSON has them, with both values."""
    if isinstance(then, dict) and isinstance(now, dict):
        keys: Sequence[str] = sorted(then.keys() | now.keys())
        inner = (differences(then.get(key), now.get(key), f"{name}.{key}" if name else key) for key in keys)
        return [text.removeprefix("options.") for texts in inner for text in texts]
    return [] if then == now else [f"{name} was {json.dumps(then)} and is {json.dumps(now)}"]


def place(path: str) -> str:
    """Name a place for a file in one way only: a link at the place itself is going to be replaced."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100  (Path.resolve would follow the link)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
