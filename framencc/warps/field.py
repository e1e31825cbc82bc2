"""Method ``field``: displacements that somebody else has computed, one file for each frame of the input."""

import contextlib
from collections.abc import Iterable, Sequence

from framencc.errors import FramenccError, WarpError
from framencc.fields import Note, list_fields
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
        self._first = next(iter(self._fields.indices if selected is None else selected), 0)
        self._notes: dict[str, Note] | None = None  # by their kinds; None until a field has been read
        self._left_over: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the fields; see `WarpMethod.warnings`."""
        if self._notes is None:
            with contextlib.suppress(FramenccError):  # whoever needs the field says what is wrong with it
                self._take(self._fields.load(self._first, self._size, convention=self._convention).notes)
        coarse = (f"warp.field {self._fields.path!r} {note.text}" for note in list((self._notes or {}).values()))
        return (*coarse, *self._left_over)

    def _take(self, notes: Iterable[Note]) -> None:
        kept = self._notes = self._notes or {}
        for note in notes:
            if note.kind not in kept or note.step > kept[note.kind].step:
                kept[note.kind] = note

    def finish(self, n_frames: int) -> None:
        """Look for fields that no frame came for; see `WarpMethod.finish`."""
        if len(self._fields) > n_frames:
            counts = f"has {len(self._fields)} fields, the input only {n_frames} frames"
            self._left_over = (f"warp.field: {self._fields.path!r} {counts}; check that they belong together",)

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:  # noqa: ARG002  (each frame stands alone)
        """Read the frame's field; see `WarpMethod.estimate`."""
        field, notes = self._fields.load(frame.index, self._size, convention=self._convention)
        self._take(notes)
        report = field_statistics(field, self._threads)
        if report["share_known"] == 0:
            raise WarpError(f"warp.field: {self._fields.path!r} holds no displacement for this frame")
        return Warp(displacement_field=field, report=report)
