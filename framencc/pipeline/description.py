"""What the sidecar says of a whole run."""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import framencc
from framencc.engine import VALIDITY_CODES
from framencc.fields import list_fields
from framencc.frames import CodeRange, Conversion, Regions, StreamInfo
from framencc.pipeline.identity import identify
from framencc.pipeline.processor import deciding_features
from framencc.pipeline.tally import Tally
from framencc.render import PreviewLayout
from framencc.shades import maximum_code
from framencc.sidecar import fingerprint
from framencc.sinks import MapFormat
from framencc.sources import MaskedSource, ReferencePicture, Source
from framencc.spec import RunSpec

_MACHINE_FACTS = ("versions", "machine", "processor")


class RunDescription:
    """Facts that are gathered before the first frame: afterwards a file may be gone, or another one.

    Parameters
    ----------
    spec
        The job.
    source
        Its input, with the masks of its frames if it has any.
    picture
        Its reference.
    regions
        The parts of it that are scored by themselves; None where there are none.
    """

    gain: int | None = None  # by what the codes of frames were multiplied when they were warped

    def __init__(
        self, spec: RunSpec, source: Source, picture: ReferencePicture, regions: Regions | None = None
    ) -> None:
        self._spec = spec
        self._info = source.info
        self.started_in = _started_in(Path(spec.output).parent)
        self.input = fingerprint(spec.input, source.files)
        self.reference: dict[str, Any] = {
            **picture.details,
            "conversion": _conversion(picture.conversion),
            **_codes(picture.code_range),
        }
        if isinstance(spec.reference, str):
            self.reference |= fingerprint(spec.reference)
        self.fields: dict[str, Any] | None = None
        if spec.warp.field is not None:
            sequence = list_fields(spec.warp.field, None, ())
            self.fields = fingerprint(spec.warp.field, None if sequence.stacked else sequence.files)
        self.mask: dict[str, Any] | None = None
        if spec.ncc.mask is not None:
            of_frames = isinstance(source, MaskedSource)
            kind = "one for each frame" if of_frames else "one for the whole job"
            files = source.mask_files if isinstance(source, MaskedSource) else None
            self.mask = {"kind": kind, **fingerprint(spec.ncc.mask, files)}

        self.regions_file: dict[str, Any] | None = None
        if spec.scores.regions is not None:
            self.regions_file = fingerprint(spec.scores.regions)
        self.regions: dict[str, dict[str, int]] | None = None
        if regions is not None:
            self.regions = {
                name: {"label": label, "n_pixels": int(np.count_nonzero(regions.labels == label))}
                for name, label in regions.names.items()
            }

    def identity(self) -> dict[str, Any]:
        """Put together all that the maps depend on, by which a run that was cut off is known again."""
        facts = {
            "framencc": framencc.__version__,
            "input": self.input,
            "reference": self.reference,
            "mask": self.mask,
            "warp_fields": self.fields,
            "regions_file": self.regions_file,
            "stream": describe_stream(self._info),
            # Not the platform as a whole, which has another name after every update of the system.
            "versions": {name: version for name, version in _versions().items() if name != "platform"},
            "machine": platform.machine(),
            "processor": deciding_features(self._spec),
        }
        return identify(self._spec, facts)

    def digest(self) -> str:
        """Return the SHA-256 of the identity without versions and machine, by which a finished job is known."""
        facts = {name: value for name, value in self.identity().items() if name not in _MACHINE_FACTS}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def head(
        self, tally: Tally, seconds: float, damage: str | None, n_resumed: int, warnings: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Put together the sidecar's head.

        Parameters
        ----------
        tally
            What adds up over the frames.
        seconds
            Wall time of the run.
        damage
            Why the result is partial; None where it is complete.
        n_resumed
            How many of the maps an earlier run had made.
        warnings
            What a user should know of the inputs although the run could use them.
        """
        return {
            "framencc": framencc.__version__,
            "spec": json.loads(self._spec.model_dump_json()),
            "job": self.digest(),
            "started_in": self.started_in,
            "encoding": describe_encoding(self._spec),
            "validity_codes": VALIDITY_CODES,
            "input": self.input,
            "reference": self.reference,
            "mask": self.mask,
            "warp_fields": self.fields,
            "warp_gain": self.gain,
            "regions_file": self.regions_file,
            "regions": self.regions,
            "stream": describe_stream(self._info),
            "versions": _versions(),
            "timings": {
                "seconds": seconds,
                "frames_per_second": (tally.n_frames - n_resumed) / seconds,
                "compute_seconds": tally.compute_seconds,
                "resumed_from": n_resumed,
                "warp_seconds": tally.warp_seconds,
            },
            "summary": tally.summary(),
            "complete": damage is None,
            "error": damage,
            "verification": self._spec.verify,
            "warnings": list(warnings),
        }


def output_formats(spec: RunSpec, info: StreamInfo, gain: int) -> dict[str, MapFormat]:
    """Say what the sinks of a job's outputs are going to be given, by their names in the spec.

    `gain` is what the codes of warped frames have been multiplied by.
    """
    bits = spec.output_format.bits
    encoded = np.float32 if spec.encoding == "float" else np.uint8 if bits == 8 else np.uint16
    warped = np.float32 if info.dtype == np.float32 else np.uint16
    kinds: dict[str, tuple[type[np.generic], dict[str, Any], int]] = {
        "output": (encoded, {f"framencc_{name}": value for name, value in describe_encoding(spec).items()}, 1),
        "validity": (np.uint8, {"framencc_encoding": "validity codes"}, 1),
        "warped": (warped, {"framencc_encoding": "warped frame", "framencc_gain": gain}, 1),
        "fields": (np.float32, {"framencc_encoding": "displacement field"}, 2),
        "preview": (np.uint8, {"framencc_encoding": f"preview, {spec.output_format.preview_style}"}, 3),
    }
    formats = {}
    for name in spec.outputs:
        dtype, facts, components = kinds[name]
        metadata = {"framencc": framencc.__version__, **{fact: str(value) for fact, value in facts.items()}}
        size = (info.height, info.width)
        if name == "preview":
            layout = preview_layout(spec, info)
            size = (layout.height, layout.width)
        formats[name] = MapFormat(
            *size, np.dtype(dtype), info.frame_rate, info.time_base, metadata, components, info.pixel_aspect
        )
    return formats


def preview_layout(spec: RunSpec, info: StreamInfo) -> PreviewLayout:
    """Lay out the preview of a job."""
    style, shape = spec.output_format.preview_style, (info.height, info.width)
    return PreviewLayout.choose(style, spec.preview_size, shape, warped=spec.warp.method != "none")


def describe_encoding(spec: RunSpec) -> dict[str, str | int]:
    """Say how values became codes, and in a video, by which codec the codes were compressed."""
    if spec.encoding == "float":
        return {"encoding": "float"}
    bits = spec.output_format.bits
    codes: dict[str, str | int] = {"encoding": spec.encoding, "bits": bits, "maximum": maximum_code(bits)}
    return codes if spec.codec is None else codes | {"codec": spec.codec}


def describe_stream(info: StreamInfo) -> dict[str, Any]:
    """Put what is known of an input into JSON's terms."""
    return {
        "height": info.height,
        "width": info.width,
        "dtype": str(info.dtype),
        **_codes(info.code_range),
        "n_channels": info.n_channels,
        "conversion": _conversion(info.conversion),
        "n_frames": info.n_frames,
        "frame_rate": str(info.frame_rate),
        "time_base": str(info.time_base) if info.time_base else None,
        "details": info.details,
    }


def _started_in(folder: Path) -> str | None:
    """Name the working folder, from which relative names count, as seen from the sidecar's; None where it is gone.

    So a tree that is moved as a whole still holds together.
    """
    try:
        here = os.path.realpath(Path.cwd())
    except OSError:
        return None
    try:
        return Path(os.path.relpath(here, os.path.realpath(folder))).as_posix()
    except ValueError:  # on another drive of Windows
        return here


def _codes(code_range: CodeRange | None) -> dict[str, Any]:
    return {"bits": None} if code_range is None else code_range.as_json()


def _conversion(conversion: Conversion | None) -> dict[str, str] | None:
    return None if conversion is None else dataclasses.asdict(conversion)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  (wanted once a run)

    packages = (
        "numpy",
        "numba",
        "imageio",
        "imageio-ffmpeg",
        "pillow",
        "pydantic",
        "scikit-image",
        "scipy",
        "tifffile",
    )
    optional = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "OpenEXR")
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages + optional:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
