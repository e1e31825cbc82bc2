"""No warp: the frames arrive on the reference's grid."""

from framencc.frames import Frame, Picture
from framencc.warps.base import Warp, WarpMethod


class IdentityWarp(Warp):
    """Leaves a picture as it is."""

    def apply(self, picture: Picture) -> Picture:
        """Return the picture itself."""
        return picture


class IdentityMethod(WarpMethod):
    """Method ``none``."""

    def estimate(self, frame: Frame) -> Warp:  # noqa: ARG002  (the contract's signature)
        """Return the identity."""
        return IdentityWarp()
