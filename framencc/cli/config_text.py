"""The default configuration as a commented TOML file, made from the spec."""

import math
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from framencc.cli.flags import range_text
from framencc.spec import RunSpec, leaf_fields

_WIDTH = 118


def config_text() -> str:
    """Return a complete config file: every option with its help and default, those without a default as comments."""
    lines = [
        "# A framencc job. Relative paths are relative to this file. Run it with:  framencc run --config FILE",
        "# Every option can be given on the command line too, where it wins: --ncc.noise-sigma 2",
    ]
    section = ""
    for name, field in leaf_fields(RunSpec):
        *sections, leaf = name.split(".")
        if sections and sections[0] != section:
            section = sections[0]
            lines += ["", f"[{section}]"]
        elif not sections:
            lines.append("")
        lines += _comment(field)
        required, default = field.is_required(), field.default
        if not required and default is not None:
            lines.append(f"{leaf} = {_toml(default)}")
        else:
            example = (field.examples or [""])[0]
            lines.append(f"{'' if required else '# '}{leaf} = {_toml(example)}")
    return "\n".join(lines) + "\n"


def _comment(field: FieldInfo) -> Iterator[str]:
    hints = [text for text in (range_text(field), _choices(field.annotation)) if text]
    text = (field.description or "") + (f" ({'; '.join(hints)})" if hints else "")
    for line in textwrap.wrap(text, _WIDTH - 2):
        yield f"# {line}"


def _choices(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(str(choice) for choice in get_args(annotation))
    return next((text for part in get_args(annotation) if (text := _choices(part))), "")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)
