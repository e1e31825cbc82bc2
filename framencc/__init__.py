"""framencc: how well each frame of a face-capture video matches a static reference, pixel by pixel.

The public names are loaded on first use, so that importing the package starts nothing, configures nothing and stays
cheap; ``framencc --help`` never loads Numba.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from framencc.config import load_config
    from framencc.errors import (
        DamagedInputError,
        FramenccError,
        MissingExtraError,
        SinkError,
        SourceError,
        SpecError,
        WarpError,
    )
    from framencc.ncc import Reference, local_ncc
    from framencc.pipeline import RunReport, run
    from framencc.spec import RunSpec

_HOMES = {
    "DamagedInputError": "errors",
    "FramenccError": "errors",
    "MissingExtraError": "errors",
    "Reference": "ncc",
    "RunReport": "pipeline",
    "RunSpec": "spec",
    "SinkError": "errors",
    "SourceError": "errors",
    "SpecError": "errors",
    "WarpError": "errors",
    "load_config": "config",
    "local_ncc": "ncc",
    "run": "pipeline",
}

__all__ = [
    "DamagedInputError",
    "FramenccError",
    "MissingExtraError",
    "Reference",
    "RunReport",
    "RunSpec",
    "SinkError",
    "SourceError",
    "SpecError",
    "WarpError",
    "__version__",
    "load_config",
    "local_ncc",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'framencc' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (imported late, like everything here)

    value = getattr(import_module(f"framencc.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
