"""Method ``field``: displacements that somebody else has computed, one file for each frame of the input."""

from collections.abc import Sequence

from framencc.errors import SpecError, WarpError
from framencc.fields import list_fields
from framencc.frames import Frame
from framencc.spec.warp import WarpSpec
from framencc.warps.base import Warp, WarpMethod, field_statistics


class FieldMethod(WarpMethod):
    """Reads the field of each frame.

    Parameters
    ----------
    spec
        The options.
    size
        Height and width of the reference, and so of every field.
    n_frames
        How many frames the input has, where that is known: there must be as many fields.
    selected
        The numbers of the selected frames, where they are known: only these need one then.
    threads
        Threads to use.
    tolerant
        Whether frames may lack a field; `estimate` refuses these.

    Raises
    ------
    SpecError
        When there are no fields, a number is missing among them, or there are too few or too many.
    """

    def __init__(
        self,
        spec: WarpSpec,
        size: tuple[int, int],
        n_frames: int | None,
        selected: Sequence[int] | None,
        threads: int,
        *,
        tolerant: bool = False,
    ) -> None:
        assert spec.field is not None
        self._threads = threads
        self._fields = list_fields(spec.field, n_frames, selected, allow_gaps=tolerant)
        self._size = size
        self._convention = spec.field_convention

    def finish(self, n_frames: int) -> None:
        """Refuse fields that no frame came for; see `WarpMethod.finish`."""
        if len(self._fields) > n_frames:
            raise SpecError(
                f"warp.field: {self._fields.path!r} has {len(self._fields)} fields, the input {n_frames} frames"
            )

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:  # noqa: ARG002  (each frame stands alone)
        """Read the frame's field; see `WarpMethod.estimate`."""
        field = self._fields.read(frame.index, self._size, convention=self._convention)
        report = field_statistics(field, self._threads)
        if report["share_known"] == 0:
            raise WarpError(f"warp.field: {self._fields.path!r} holds no displacement for this frame")
        return Warp(displacement_field=field, report=report)
