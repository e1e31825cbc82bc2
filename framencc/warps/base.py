"""The contract that every warp method keeps."""

from abc import ABC, abstractmethod

from framencc.frames import Frame, Picture


class Warp(ABC):
    """How one frame is brought onto the reference's pixel grid."""

    @abstractmethod
    def apply(self, picture: Picture) -> Picture:
        """Return the (H, W) picture as seen from the reference: the picture that is correlated and shown."""


class WarpMethod(ABC):
    """Finds the warp of each frame; made once per run, fed with every frame in order."""

    @abstractmethod
    def estimate(self, frame: Frame) -> Warp:
        """Find the warp that brings a frame onto the reference.

        Raises
        ------
        WarpError
            When it cannot be found.
        """
