"""The three threads of one run.

A reader thread fills buffers, the calling thread owns the correlation, a writer thread feeds the encoder. Between them
stand bounded queues, and the buffers come from pools, so memory does not grow with the clip. Whichever stage fails,
the others stop, the children end, and the first cause is what the caller sees.
"""

import dataclasses
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from framencc.conveyor import BufferPool, Conveyor, Stopped
from framencc.engine import VALIDITY_CODES
from framencc.errors import DamagedInputError
from framencc.frames import Frame, Picture
from framencc.ncc import Reference
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.progress import open_bar
from framencc.pipeline.workplace import MAPS
from framencc.render import Preview, encode, weigh
from framencc.scores import FrameScores, score
from framencc.sidecar import plain
from framencc.sources import SeekPoint, Source
from framencc.spec import RunSpec
from framencc.warps import Warp, WarpStage

logger = logging.getLogger(__name__)

# Deep enough to ride out a slow frame, shallow enough that the buffers of a 4K run stay under half a gigabyte.
_QUEUE_LENGTH = 4


@dataclass
class Tally:
    """What adds up over the frames."""

    n_frames: int = 0
    n_failed_warps: int = 0
    compute_seconds: float = 0.0
    _n_measured: int = 0
    _confidence: float = 0.0
    _shares: tuple[float, ...] = (0.0,) * len(VALIDITY_CODES)

    def add(self, row: Mapping[str, Any], seconds: float = 0.0) -> None:
        """Add what the sidecar says of the next frame, and the time that it took."""
        self.n_frames += 1
        self.compute_seconds += seconds
        self._shares = tuple(total + share for total, share in zip(self._shares, row["code_shares"], strict=True))
        if row["mean_confidence"] is not None:
            self._n_measured += 1
            self._confidence += row["mean_confidence"]
        if "warp" in row and row["warp"]["status"] != "estimated":
            self.n_failed_warps += 1

    @property
    def mean_confidence(self) -> float | None:
        """Mean of the frames' mean confidence, over those that have one; None where none has."""
        return self._confidence / self._n_measured if self._n_measured else None

    @property
    def code_shares(self) -> tuple[float, ...]:
        """Share of all pixels so far that have each validity code."""
        return tuple(total / max(1, self.n_frames) for total in self._shares)


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


class Job:
    """A run whose parts are all open.

    Parameters
    ----------
    spec
        What to do.
    source, reference, outputs
        Where frames come from, what they are compared with, and where maps go.
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
        outputs: Outputs,
        *,
        tally: Tally,
        warp: WarpStage | None = None,
        preview: Preview | None = None,
        progress: bool = False,
    ) -> None:
        self.tally = tally
        self._spec = spec
        self._source = source
        self._reference = reference
        self._outputs = outputs
        self._warp = warp
        self._preview = preview
        self._progress = progress
        self._frames: Conveyor[Frame] = Conveyor(_QUEUE_LENGTH)
        self._maps: Conveyor[Map] = Conveyor(_QUEUE_LENGTH)
        # A stage holds one buffer more than its queue.
        self._frame_buffers = BufferPool(_QUEUE_LENGTH + 2)
        self._output_buffers = {name: BufferPool(_QUEUE_LENGTH + 2) for name in spec.outputs}
        self._write_error: BaseException | None = None

    def carry_out(self) -> None:
        """Write every map; leave nothing running, however it ends."""
        reader = threading.Thread(target=self._read, name="framencc-reader", daemon=True)
        writer = threading.Thread(target=self._write, name="framencc-writer", daemon=True)
        reader.start()
        writer.start()
        damage: DamagedInputError | None = None
        try:
            try:
                self._compute()
            except Stopped:
                logger.debug("the writer has stopped the run")  # its error is raised below
            except DamagedInputError as error:
                damage = error  # the maps that were made before it are still to be written
            self._maps.end()
            _wait_for(writer)
        except BaseException:
            # A KeyboardInterrupt among them. The threads may be waiting for a child, so the children go first.
            self._stop()
            self._source.close()
            self._outputs.abort()
            raise
        finally:
            self._stop()
            self._source.close()
            _wait_for(reader)
            _wait_for(writer)
        if self._write_error is not None:
            raise self._write_error
        if damage is not None:
            raise damage

    def _stop(self) -> None:
        for queue in (self._frames, self._maps):
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

    def _write(self) -> None:
        try:
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
        for frame in self._shown(self._frames):
            began = time.perf_counter()
            warp = None if self._warp is None else self._warp.estimate(frame)
            if not frame.wanted:
                self._give_back(frame)
                continue
            pictures = {
                name: buffers.take(self._outputs.formats[name].shape, self._outputs.formats[name].dtype)
                for name, buffers in self._output_buffers.items()
            }
            scores = self._measure(frame, warp, pictures, scratch)
            row = _row(frame, scores, warp)
            self.tally.add(row, time.perf_counter() - began)
            ends_segment = self.tally.n_frames % self._spec.segment_frames == 0
            point = SeekPoint(frame.index, frame.pts_seconds, frame.digest()) if ends_segment else None
            self._give_back(frame)
            self._maps.put(Map(pictures, frame, row, point))
        if self._warp is not None and self._spec.frames is None:
            self._warp.finish(self.tally.n_frames)

    def _measure(self, frame: Frame, warp: Warp | None, pictures: dict[str, Picture], scratch: Scratch) -> FrameScores:
        """Fill the outputs of one frame."""
        spec, data = self._spec, pictures[MAPS]
        rho = data if spec.encoding == "float" else scratch.rho
        validity = pictures.get("validity", scratch.validity)
        if self._warp is None or warp is None:
            planes = frame.data if frame.data.ndim == 3 else frame.data[np.newaxis]
            self._reference.correlate(planes, rho, validity, frame.use)
        else:
            target = pictures.get("warped")
            warped = self._warp.apply(frame, warp, None if target is None else target[np.newaxis])
            planes = warped.planes
            self._reference.correlate(planes, rho, validity, codes=warped.codes)
            if (distance := self._warp.distance(warp)) is not None:
                weigh(rho, validity, distance, spec.warp.forward_backward_scale, threads=spec.threads)
            if "fields" in pictures:
                np.copyto(pictures["fields"], warp.field((validity.shape[0], validity.shape[1])))
        encode(rho, spec.encoding, spec.output_format.bits, out=data, threads=spec.threads)
        scores = score(rho, validity, threads=spec.threads)
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
        return scores

    def _give_back(self, frame: Frame) -> None:
        for buffer in (frame.data, frame.use):
            if buffer is not None:
                self._frame_buffers.give_back(buffer)

    def _shown(self, frames: Conveyor[Frame]) -> Iterator[Frame]:
        """Pass the frames on under a progress bar: frames per second, time left, mean confidence so far."""
        details = self._source.info.details or {}
        total = self._source.info.n_frames or details.get("estimated_frames")
        name = Path(self._spec.output).name
        bar = open_bar(name, total=total, done=self.tally.n_frames, shown=self._progress)  # type: ignore[arg-type]
        if bar is None:
            yield from frames
            return
        with bar:
            for frame in frames:
                yield frame
                if not frame.wanted:
                    continue
                mean = self.tally.mean_confidence
                if mean is not None:
                    bar.set_postfix_str(f"mean confidence {mean:.3f}", refresh=False)
                bar.update()


def _wait_for(thread: threading.Thread) -> None:
    while thread.is_alive():
        thread.join(0.2)  # in pieces: on Windows only these can be interrupted from the keyboard


def _row(frame: Frame, scores: FrameScores, warp: Warp | None) -> dict[str, Any]:
    """Put together what the sidecar says of a frame."""
    row: dict[str, Any] = {"index": frame.index, "pts_seconds": frame.pts_seconds}
    if frame.file_name is not None:
        row["file"] = frame.file_name
    row |= dataclasses.asdict(scores)
    if warp is not None:
        row["warp"] = warp.report
    return dict(plain(row))
