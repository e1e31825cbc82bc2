"""How frames are brought onto the reference. `open_warp` is the one way in."""

from framencc.spec import WarpSpec
from framencc.warps.base import Warp, WarpMethod
from framencc.warps.identity import IdentityMethod

__all__ = ["Warp", "WarpMethod", "open_warp"]

_METHODS: dict[str, type[WarpMethod]] = {"none": IdentityMethod}


def open_warp(spec: WarpSpec) -> WarpMethod:
    """Make the method that a spec asks for."""
    return _METHODS[spec.method]()
