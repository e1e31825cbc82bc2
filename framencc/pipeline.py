"""One job from end to end; the only place where source, warp, engine and sink meet.

A reader thread fills buffers, the calling thread owns all kernels, a writer thread feeds the encoder. Between them
stand bounded queues, and the buffers come from pools, so memory does not grow with the clip. Whichever stage fails,
the others stop, the children end, and the first cause is what the caller sees.
"""

import contextlib
import dataclasses
import json
import logging
import platform
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import framencc
from framencc.channels import LUMA_MATRIX
from framencc.conveyor import BufferPool, Conveyor, Stopped
from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import Frame, Picture, StreamInfo
from framencc.ncc import Reference
from framencc.render import encode, maximum_code
from framencc.scores import FrameScores, score
from framencc.sidecar import SidecarWriter, fingerprint, old_sidecar_aside
from framencc.sinks import MapFormat, Sink, check_target, open_sink
from framencc.sources import ReferencePicture, Source, open_source, read_reference
from framencc.spec import RunSpec
from framencc.warps import open_warp

logger = logging.getLogger(__name__)

# Deep enough to ride out a slow frame, shallow enough that the buffers of a 4K run stay under half a gigabyte.
_QUEUE_LENGTH = 4


@dataclass(frozen=True)
class RunReport:
    """What a finished run says of itself.

    Parameters
    ----------
    output, sidecar
        Where the maps and their description are.
    n_frames
        How many maps were written.
    mean_confidence
        Mean over the frames of their mean rho over measured pixels, or None where nothing was measured.
    seconds
        Wall time of the whole run.
    """

    output: Path
    sidecar: Path
    n_frames: int
    mean_confidence: float | None
    seconds: float


@dataclass
class _Tally:
    """What adds up over the frames."""

    n_frames: int = 0
    n_measured: int = 0
    confidence: float = 0.0
    compute_seconds: float = 0.0

    def add(self, scores: FrameScores, seconds: float) -> None:
        self.n_frames += 1
        self.compute_seconds += seconds
        if scores.mean_confidence is not None:
            self.n_measured += 1
            self.confidence += scores.mean_confidence

    @property
    def mean_confidence(self) -> float | None:
        return self.confidence / self.n_measured if self.n_measured else None


def run(spec: RunSpec, *, progress: bool = False) -> RunReport:
    """Carry out a job.

    Parameters
    ----------
    spec
        What to do.
    progress
        Show a progress bar on stderr, if that is a terminal.

    Returns
    -------
    RunReport
        Where the result is. Beside the output stands its sidecar, OUTPUT.json.

    Raises
    ------
    SpecError
        When the job cannot be done as written, for example because the output exists or the sizes differ.
    SourceError, SinkError
        When reading or writing fails; nothing is left at the output's name.
    DamagedInputError
        When the input ends in damage: the maps before it are kept beside the output, as ``NAME.partial.EXT``.
    """
    started = time.perf_counter()
    check_target(spec)
    with contextlib.ExitStack() as cleanup:
        reference_picture = read_reference(spec)
        source = cleanup.enter_context(open_source(spec))
        _require_fit(reference_picture, source.info, spec)
        reference, rescaled = _prepare_reference(reference_picture, source.info, spec)
        sidecar = cleanup.enter_context(SidecarWriter(spec.output))
        sink = cleanup.enter_context(open_sink(spec, _map_format(spec, source.info)))
        job = _Job(spec, source, reference, sink, sidecar, progress)
        damage: DamagedInputError | None = None
        try:
            job.carry_out()
        except DamagedInputError as error:
            if job.tally.n_frames == 0:
                # Exit code 3 promises a partial result, and there is none.
                raise SourceError(str(error)) from None
            damage = error
        seconds = time.perf_counter() - started
        head = _head(spec, reference_picture, rescaled, source.info, job.tally, seconds)
        head |= {"complete": damage is None, "error": str(damage) if damage else None}
        sidecar.prepare(head)
        if damage is None:
            with old_sidecar_aside(spec.output):
                output = sink.commit()
        else:
            output = sink.commit(_partial_name(Path(spec.output)))
        description = sidecar.commit(head, output)
    if damage is not None:
        kept = f"{job.tally.n_frames} maps are kept in {str(output)!r}"
        raise DamagedInputError(f"{damage}; {kept}") from None
    return RunReport(output, description, job.tally.n_frames, job.tally.mean_confidence, seconds)


def describe(spec: RunSpec) -> dict[str, Any]:
    """Say what `run` would do, after all the checks that need no decoding of the whole input.

    Raises
    ------
    FramenccError
        As `run` does, where the reason can be seen beforehand.
    """
    check_target(spec)
    reference = read_reference(spec)
    with open_source(spec) as source:
        _require_fit(reference, source.info, spec)
        return {
            "spec": json.loads(spec.model_dump_json()),
            "output": str(Path(spec.output).absolute()),
            "encoding": _encoding(spec),
            "stream": _stream(source.info),
            "reference": reference.details,
        }


@dataclass
class _Job:
    """The three threads of one run."""

    spec: RunSpec
    source: Source
    reference: Reference
    sink: Sink
    sidecar: SidecarWriter
    progress: bool
    tally: _Tally = field(default_factory=_Tally)

    def __post_init__(self) -> None:
        self._frames: Conveyor[Frame] = Conveyor(_QUEUE_LENGTH)
        self._maps: Conveyor[tuple[Picture, Frame]] = Conveyor(_QUEUE_LENGTH)
        # A stage holds one buffer more than its queue.
        self._frame_buffers = BufferPool(_QUEUE_LENGTH + 2)
        self._map_buffers = BufferPool(_QUEUE_LENGTH + 2)
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
            self.source.close()
            self.sink.abort()
            raise
        finally:
            self._stop()
            self.source.close()
            _wait_for(reader)
            _wait_for(writer)
        if self._write_error is not None:
            raise self._write_error
        if damage is not None:
            raise damage

    def _stop(self) -> None:
        for part in (self._frames, self._maps, self._frame_buffers, self._map_buffers):
            part.stop()

    def _read(self) -> None:
        try:
            for frame in self.source.frames(self._frame_buffers.take):
                self._frames.put(frame)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  (carried to the thread that can raise it)
            self._frames.end(error)
        else:
            self._frames.end()

    def _write(self) -> None:
        try:
            for data, frame in self._maps:
                self.sink.write(data, frame.index, frame.pts_seconds)
                self._map_buffers.give_back(data)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  (carried to the thread that can raise it)
            self._write_error = error
            self._stop()

    def _compute(self) -> None:
        info, spec = self.source.info, self.spec
        shape = (info.height, info.width)
        rho, validity = np.empty(shape, np.float32), np.empty(shape, np.uint8)
        warp = open_warp(spec.warp)
        for frame in self._shown(self._frames):
            began = time.perf_counter()
            data = self._map_buffers.take(shape, self.sink.format.dtype)
            target = data if spec.encoding == "float" else rho
            warped = warp.estimate(frame).apply(frame.data)
            self.reference.correlate(warped[np.newaxis], target, validity)
            encode(target, spec.encoding, spec.output_format.bits, out=data, threads=spec.threads)
            scores = score(target, validity, threads=spec.threads)
            self._frame_buffers.give_back(frame.data)
            self.tally.add(scores, time.perf_counter() - began)
            row = {"index": frame.index, "pts_seconds": frame.pts_seconds, **dataclasses.asdict(scores)}
            self.sidecar.add_frame(row)
            self._maps.put((data, frame))

    def _shown(self, frames: Conveyor[Frame]) -> Iterator[Frame]:
        """Pass the frames on under a progress bar: frames per second, time left, mean confidence so far."""
        if not (self.progress and sys.stderr.isatty()):
            yield from frames
            return
        from tqdm import tqdm  # noqa: PLC0415  (wanted on terminals only)

        details = self.source.info.details or {}
        total = self.source.info.n_frames or details.get("estimated_frames")
        with tqdm(
            total=total, unit="frame", file=sys.stderr, dynamic_ncols=True, desc=Path(self.spec.output).name
        ) as bar:
            for frame in frames:
                yield frame
                mean = self.tally.mean_confidence
                if mean is not None:
                    bar.set_postfix_str(f"mean confidence {mean:.3f}", refresh=False)
                bar.update()


def _wait_for(thread: threading.Thread) -> None:
    while thread.is_alive():
        thread.join(0.2)  # in pieces: on Windows only these can be interrupted from the keyboard


def _require_fit(reference: ReferencePicture, info: StreamInfo, spec: RunSpec) -> None:
    if spec.ncc.channel != "luma":
        raise SpecError(
            f"ncc.channel = {spec.ncc.channel} cannot be taken from files, which are read as luma; give arrays to "
            f"framencc.Reference, or leave it at luma"
        )
    height, width = reference.data.shape
    if (height, width) != (info.height, info.width):
        raise SpecError(
            f"reference {spec.reference!r} is {width} x {height} pixels, input {spec.input!r} is "
            f"{info.width} x {info.height}; they must be equal"
        )


def _prepare_reference(picture: ReferencePicture, info: StreamInfo, spec: RunSpec) -> tuple[Reference, float | None]:
    """Prepare the reference; with a noise model, in the code values of the input.

    The correlation itself does not care about a factor, but noise_sigma is in code values of the input, and the same
    noise is a fourth as many codes in an 8-bit picture as in a 10-bit frame.
    """
    data, factor = picture.data, None
    if spec.ncc.noise_sigma > 0 and picture.bits != info.bits:
        if picture.bits is None or info.bits is None:
            raise SpecError(
                f"ncc.noise_sigma is in code values of the input, which has {_depth(info.bits)}, but the reference has "
                f"{_depth(picture.bits)}; bring both to one format, or set it to 0"
            )
        factor = maximum_code(info.bits) / maximum_code(picture.bits)
        data = np.rint(data * factor).astype(np.uint8 if info.bits <= 8 else np.uint16)
    options = spec.ncc.model_dump()
    return Reference(data, options.pop("radius"), **options, threads=spec.threads), factor


def _depth(bits: int | None) -> str:
    return "floating-point samples" if bits is None else f"{bits}-bit samples"


def _map_format(spec: RunSpec, info: StreamInfo) -> MapFormat:
    bits = spec.output_format.bits
    dtype = np.dtype(np.float32 if spec.encoding == "float" else np.uint8 if bits == 8 else np.uint16)
    metadata = {"framencc": framencc.__version__}
    metadata |= {f"framencc_{name}": str(value) for name, value in _encoding(spec).items()}
    return MapFormat(info.height, info.width, dtype, info.frame_rate, info.time_base, metadata)


def _encoding(spec: RunSpec) -> dict[str, str | int]:
    if spec.encoding == "float":
        return {"encoding": "float"}
    bits = spec.output_format.bits
    return {"encoding": spec.encoding, "bits": bits, "maximum": maximum_code(bits)}


def _stream(info: StreamInfo) -> dict[str, Any]:
    return {
        "height": info.height,
        "width": info.width,
        "dtype": str(info.dtype),
        "bits": info.bits,
        "n_frames": info.n_frames,
        "frame_rate": str(info.frame_rate),
        "time_base": str(info.time_base) if info.time_base else None,
        "details": info.details,
    }


def _head(
    spec: RunSpec,
    reference: ReferencePicture,
    rescaled: float | None,
    info: StreamInfo,
    tally: _Tally,
    seconds: float,
) -> dict[str, Any]:
    """Put together what the sidecar says of the whole run."""
    reference_details: dict[str, Any] = dict(reference.details)
    if isinstance(spec.reference, str):
        reference_details |= fingerprint(spec.reference)
    if rescaled is not None:
        reference_details["rescaled_by"] = rescaled
    return {
        "framencc": framencc.__version__,
        "spec": json.loads(spec.model_dump_json()),
        "encoding": _encoding(spec),
        "luma_of_colour_pictures": LUMA_MATRIX,
        "input": fingerprint(spec.input),
        "reference": reference_details,
        "stream": _stream(info),
        "versions": _versions(),
        "timings": {
            "seconds": seconds,
            "frames_per_second": tally.n_frames / seconds,
            "compute_seconds": tally.compute_seconds,
        },
        "summary": {"n_frames": tally.n_frames, "mean_confidence": tally.mean_confidence},
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version  # noqa: PLC0415  (scans the installation; wanted once a run)

    packages = ("numpy", "numba", "imageio", "imageio-ffmpeg", "pydantic", "scikit-image")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{package: version(package) for package in packages},
    }


def _partial_name(output: Path) -> Path:
    return output.with_name(f"{output.stem}.partial{output.suffix}")
