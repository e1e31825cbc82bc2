"""The threads of one run.

A reader thread fills buffers, where frames are warped two more threads find how, the calling thread samples and
correlates, a writer thread feeds the encoder. Between them stand bounded queues, and the buffers come from pools, so
memory does not grow with the clip. Whichever stage fails, the later ones finish the frames before the failure, the
earlier ones stop, and the children end. Where the writer fails as well, the caller sees its error, with that of the
earlier stage as the cause. An interrupt stops all stages at once.

The warp of a frame is found while the frame before is correlated: an estimator looks at one frame after the other and
keeps one core busy at best, and what else has to be done fills the others. What the next warp does not begin with, the
way back of a flow, is found by a thread of its own beside the next frame's way there.
"""

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from framencc.conveyor import BufferPool, Conveyor, Stopped
from framencc.engine import DAMAGED, NO_WARP
from framencc.errors import FramenccError, SourceError
from framencc.frames import Frame, Picture
from framencc.kernels.scoring import Following
from framencc.kernels.scoring import Tally as RowTally
from framencc.ncc import Reference
from framencc.pipeline.left import MAPS
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.progress import open_bar
from framencc.pipeline.tally import Tally
from framencc.render import Preview, encode
from framencc.scores import FrameScores, Scorer
from framencc.sidecar import plain
from framencc.sources import SeekPoint, Source
from framencc.spec import RunSpec
from framencc.warps import Warp, WarpStage

logger = logging.getLogger(__name__)

# Deep enough to ride out a slow frame, shallow enough that the buffers of a 4K run stay under half a gigabyte.
_QUEUE_LENGTH = 4
# A displacement field is four times the size of a 16-bit frame, so fewer of them wait.
_WARP_QUEUE_LENGTH = 1


@dataclass(frozen=True)
class Scratch:
    """Where maps and codes go that are no output themselves."""

    rho: Picture
    validity: Picture


class Map(NamedTuple):
    """What one frame leaves, on its way to the outputs."""

    pictures: dict[str, Picture]
    frame: Frame
    row: dict[str, Any]
    point: SeekPoint | None


@dataclass(frozen=True, slots=True)
class Found:
    """A frame, how it is brought onto the reference (None: it comes as it is), and how long finding that took.

    Two threads find warps side by side: the time is that of the one that took longer.
    """

    frame: Frame
    warp: Warp | None = None
    seconds: float = 0.0


class Job:
    """A run whose parts are all open.

    Parameters
    ----------
    spec
        What to do.
    source, reference, scorer, outputs
        Where frames come from, what they are compared with, what counts how well they match, and where maps go.
    warp
        What brings frames onto the reference; None where they come as they are.
    preview
        What draws the preview; None where there is none.
    progress
        Show a progress bar on stderr, if that is a terminal.
    tally
        What has added up so far; it goes on adding up.
    """

    def __init__(
        self,
        spec: RunSpec,
        source: Source,
        reference: Reference,
        scorer: Scorer,
        outputs: Outputs,
        *,
        tally: Tally,
        warp: WarpStage | None = None,
        preview: Preview | None = None,
        progress: bool = False,
    ) -> None:
        self.tally = tally
        self._n_done = tally.n_frames
        self._spec = spec
        self._source = source
        self._reference = reference
        self._scorer = scorer
        self._outputs = outputs
        self._warp = warp
        self._preview = preview
        self._progress = progress
        self._frames: Conveyor[Frame] = Conveyor(_QUEUE_LENGTH)
        self._maps: Conveyor[Map] = Conveyor(_QUEUE_LENGTH)
        self._begun: Conveyor[Found] = Conveyor(_WARP_QUEUE_LENGTH)
        self._found: Conveyor[Found] = Conveyor(_WARP_QUEUE_LENGTH)
        # A stage holds one buffer more than its queue.
        self._frame_buffers = BufferPool(_QUEUE_LENGTH + 2 + (0 if warp is None else 2 * (_WARP_QUEUE_LENGTH + 1)))
        self._output_buffers = {name: BufferPool(_QUEUE_LENGTH + 2) for name in spec.outputs}
        self._write_error: BaseException | None = None

    def carry_out(self) -> None:
        """Write every map; leave nothing running, however it ends.

        Raises
        ------
        FramenccError
            Of the stage that failed. Each segment that was complete before is sealed.
        """
        writer = threading.Thread(target=self._write, name="framencc-writer", daemon=True)
        others = [threading.Thread(target=self._read, name="framencc-reader", daemon=True)]
        if self._warp is not None:
            others.append(threading.Thread(target=self._estimate, name="framencc-estimator", daemon=True))
            others.append(threading.Thread(target=self._complete, name="framencc-completer", daemon=True))
        for thread in (writer, *others):
            thread.start()
        failure: FramenccError | None = None
        try:
            try:
                self._compute()
            except Stopped:
                logger.debug("the writer has stopped the run")  # its error is raised below
            except FramenccError as error:
                failure = error  # the maps that were made before it are still to be written
            self._maps.end()
            _wait_for(writer)
            if failure is not None and self._write_error is None:
                try:
                    self._outputs.finish_sealing()
                except FramenccError as error:
                    raise error from failure
        except BaseException:
            # A KeyboardInterrupt among them. The threads may be waiting for a child, so the children go first.
            self._stop()
            self._source.close()
            self._outputs.abort()
            raise
        finally:
            self._stop()
            self._source.close()
            for thread in (*others, writer):
                _wait_for(thread)
        if self._write_error is not None:
            raise self._write_error from failure
        if failure is not None:
            raise failure

    def _stop(self) -> None:
        for queue in (self._frames, self._begun, self._found, self._maps):
            queue.stop()
        for pool in (self._frame_buffers, *self._output_buffers.values()):
            pool.stop()

    def _read(self) -> None:
        try:
            for frame in self._source.frames(self._frame_buffers.take):
                self._frames.put(frame)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  (carried to the thread that can raise it)
            self._frames.end(error)
        else:
            self._frames.end()

    def _estimate(self) -> None:
        assert self._warp is not None
        n_frames = self._n_done
        try:
            for given in self._frames:
                began = time.perf_counter()
                frame, warp = self._find_warp(given, self._warp)
                if frame.wanted:
                    n_frames += 1
                    self._begun.put(Found(frame, warp, time.perf_counter() - began))
                else:  # it only led to one that is
                    self._give_back(frame)
            if self._spec.frames is None:
                self._warp.finish(n_frames)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  (carried to the thread that can raise it)
            self._begun.end(error)
        else:
            self._begun.end()

    def _complete(self) -> None:
        """Find what is missing of warps."""
        try:
            for found in self._begun:
                began = time.perf_counter()
                warp = None if found.warp is None else found.warp.complete()
                self._found.put(Found(found.frame, warp, max(found.seconds, time.perf_counter() - began)))
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  (carried to the thread that can raise it)
            self._found.end(error)
        else:
            self._found.end()

    def _find_warp(self, frame: Frame, stage: WarpStage) -> tuple[Frame, Warp | None]:
        """Return a frame and its warp; none of a damaged frame, after which the next one begins anew.

        With `spec.tolerant` a frame whose precomputed warp cannot be read is a damaged one, as with a damaged mask.
        """
        if frame.damaged is not None:
            return frame, None
        try:
            return frame, stage.begin(frame)
        except SourceError as error:
            if not self._spec.tolerant:
                raise
            return dataclasses.replace(frame, damaged=f"warp.field: {error}"), None

    def _write(self) -> None:
        try:
            self._outputs.begin()
            for one in self._maps:
                self._outputs.write(one.pictures, one.frame, one.row, one.point)
                for name, picture in one.pictures.items():
                    self._output_buffers[name].give_back(picture)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  (carried to the thread that can raise it)
            self._write_error = error
            self._stop()

    def _compute(self) -> None:
        shape = (self._source.info.height, self._source.info.width)
        scratch = Scratch(np.empty(shape, np.float32), np.empty(shape, np.uint8))
        latest = -math.inf
        for found in self._shown(self._frames_to_measure()):
            began = time.perf_counter()
            frame = found.frame
            pictures = {
                name: buffers.take(self._outputs.formats[name].shape, self._outputs.formats[name].dtype)
                for name, buffers in self._output_buffers.items()
            }
            if frame.damaged is not None:
                scores = self._leave_out(frame, DAMAGED, pictures, scratch)
            elif found.warp is not None and not found.warp.found:
                scores = self._leave_out(frame, NO_WARP, pictures, scratch)
            else:
                scores = self._measure(found, pictures, scratch)
            row = _row(frame, scores, found.warp)
            self.tally.warp_seconds += found.seconds
            self.tally.add(row, time.perf_counter() - began)
            point = None
            ends_segment = self.tally.n_frames % self._spec.segment_frames == 0
            # A frame is known again by its time, if none before it has the same.
            if ends_segment and frame.pts_seconds > latest:
                point = SeekPoint(frame.index, frame.pts_seconds, frame.digest())
            latest = frame.pts_seconds
            if ends_segment and self._outputs.clip_maps is not None:
                self._outputs.clip_maps.keep(self.tally.n_frames)
            self._give_back(frame)
            self._maps.put(Map(pictures, frame, row, point))

    def _frames_to_measure(self) -> Iterator[Found]:
        if self._warp is None:
            return (Found(frame) for frame in self._frames)
        return iter(self._found)

    def _measure(self, found: Found, pictures: dict[str, Picture], scratch: Scratch) -> FrameScores:
        """Fill the outputs of one frame."""
        spec, data, frame, warp = self._spec, pictures[MAPS], found.frame, found.warp
        rho = data if spec.encoding == "float" else scratch.rho
        validity = pictures.get("validity", scratch.validity)
        planes, why = frame.data if frame.data.ndim == 3 else frame.data[np.newaxis], None
        options: dict[str, Any] = {}
        if self._warp is not None and warp is not None:
            target = pictures.get("warped")
            warped = self._warp.apply(frame, warp, None if target is None else target[np.newaxis])
            planes, why = warped.planes, warped.codes
            options = {"field": warped.transform, "distance": self._warp.distance(warp)}
            options["distance_scale"] = spec.warp.forward_backward_scale
            if "fields" in pictures:
                np.copyto(pictures["fields"], warped.field)

        def begin(n_bands: int) -> tuple[Following, RowTally]:
            return self._scorer.begin(n_bands, planes, codes=data, encoding=spec.encoding, **options)

        use = frame.use if why is None else None
        self._reference.correlate(planes, rho, validity, use, why, begin)
        scores = self._scorer.finish()
        if self._outputs.clip_maps is not None:
            self._outputs.clip_maps.add(rho, validity)
        self._draw(frame, planes, rho, validity, scores, pictures)
        return scores

    def _draw(
        self,
        frame: Frame,
        planes: Picture,
        rho: Picture,
        validity: Picture,
        scores: FrameScores,
        pictures: dict[str, Picture],
    ) -> None:
        """Draw the preview, if there is one, of a frame as it was correlated."""
        if self._preview is not None:
            self._preview.draw(
                planes,
                rho,
                validity,
                index=frame.index,
                pts_seconds=frame.pts_seconds,
                mean=scores.mean_confidence,
                out=pictures["preview"],
            )

    def _leave_out(self, frame: Frame, code: np.uint8, pictures: dict[str, Picture], scratch: Scratch) -> FrameScores:
        """Fill the outputs of a frame of which nothing is measured, damaged or without a warp."""
        spec, data = self._spec, pictures[MAPS]
        rho = data if spec.encoding == "float" else scratch.rho
        validity = pictures.get("validity", scratch.validity)
        rho.fill(spec.ncc.fill)
        validity.fill(code)
        if "warped" in pictures:
            pictures["warped"].fill(0)
        if "fields" in pictures:
            pictures["fields"].fill(np.nan)
        encode(rho, spec.encoding, spec.output_format.bits, out=data, threads=spec.threads)
        scores = self._scorer.score(rho, validity)
        planes = frame.data if frame.data.ndim == 3 else frame.data[np.newaxis]
        self._draw(frame, planes, rho, validity, scores, pictures)
        return scores

    def _give_back(self, frame: Frame) -> None:
        for buffer in (frame.data, frame.use):
            if buffer is not None:
                self._frame_buffers.give_back(buffer)

    def _shown(self, frames: Iterator[Found]) -> Iterator[Found]:
        """Pass the frames on under a progress bar: frames per second, time left, confidence so far and now."""
        details = self._source.info.details or {}
        total = self._source.info.n_frames or details.get("estimated_frames")
        name = Path(self._spec.output).name
        bar = open_bar(f"correlating {name}", total=total, done=self.tally.n_frames, shown=self._progress)  # type: ignore[arg-type]
        if bar is None:
            yield from frames
            return
        with bar:
            for frame in frames:
                yield frame
                mean, last = self.tally.mean_confidence, self.tally.last_confidence
                if mean is not None:
                    now = "nothing measured" if last is None else f"{last:.3f}"
                    bar.set_postfix_str(f"mean confidence {mean:.3f}, now {now}", refresh=False)
                bar.update()


def _wait_for(thread: threading.Thread) -> None:
    while thread.is_alive():
        thread.join(0.2)  # in pieces: on Windows only these can be interrupted from the keyboard


def _row(frame: Frame, scores: FrameScores, warp: Warp | None) -> dict[str, Any]:
    """Put together what the sidecar says of a frame."""
    row: dict[str, Any] = {"index": frame.index, "pts_seconds": frame.pts_seconds}
    if frame.file_name is not None:
        row["file"] = frame.file_name
    if frame.damaged is not None:
        row["damaged"] = frame.damaged
    row |= dataclasses.asdict(scores)
    if scores.regions is None:
        del row["regions"]
    if warp is not None:
        row["warp"] = warp.report
    return dict(plain(row))
