"""What makes two jobs the same: everything that their results depend on, and how files are named in it."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from framencc.spec import PATH_FIELDS, WRITTEN_FIELDS, RunSpec

_PROCESSOR = "processor."
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
    if name.startswith(_PROCESSOR) and isinstance(then, list) and isinstance(now, list):
        return _other_features(then, now, name.removeprefix(_PROCESSOR))
    return [] if then == now else [f"{name} was {json.dumps(then)} and is {json.dumps(now)}"]


def _other_features(then: Sequence[str], now: Sequence[str], decided: str) -> list[str]:
    """Say in a few words which processor features have come and gone."""
    gone, new = [str(one) for one in then if one not in now], [one for one in now if one not in then]
    parts = [f"{', '.join(gone)} {_be(gone, 'was', 'were')} in use, now {_be(gone, 'is', 'are')} not"] if gone else []
    parts += [f"{', '.join(new)} {_be(new, 'is', 'are')} in use, {_be(new, 'was', 'were')} not"] if new else []
    return [f"processor features for {decided}: {'; '.join(parts)}"] if parts else []


def _be(features: Sequence[str], one: str, several: str) -> str:
    return one if len(features) == 1 else several


def place(path: str) -> str:
    """Name a place for a file in one way only: a link at the place itself is going to be replaced."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100  (Path.resolve would follow the link)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
