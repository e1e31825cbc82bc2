"""No warp: the frames arrive on the reference's grid."""

from framencc.frames import Frame
from framencc.warps.base import Warp, WarpMethod


class IdentityMethod(WarpMethod):
    """Method ``none``."""

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:  # noqa: ARG002  (the contract's signature)
        """Return the identity."""
        return Warp()
