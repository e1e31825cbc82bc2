"""One picture file a map, named by the frame's number in the input."""

import io
import json
import shutil
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from framencc.errors import SpecError
from framencc.fields import write_field
from framencc.frames import Picture
from framencc.sinks.base import Imprint, MapFormat, imprint
from framencc.sinks.staged import StagedSink
from framencc.sinks.targets import NumberedFiles
from framencc.staging import sync_file, sync_folder, write_all

Encode = Callable[[Picture, Mapping[str, str]], memoryview]


class ImageSink(StagedSink):
    """A numbered sequence of .png, .tif or .npy files.

    The files gather in a hidden folder inside the target's. At `commit` those that are in the way are deleted, and the
    new ones are moved into place. One rename cannot move them all, so a process killed in between leaves some of them,
    never a mixture of two runs. Old files that are to stay until all is done do not belong into the same folder.

    Parameters
    ----------
    target
        A printf pattern such as ``dir/%06d.png``.
    map_format
        What the sink is going to be given: uint8 or uint16 for .png, any dtype of a map for .tif and .npy, and
        displacement fields for .npy, .flo and .exr.
    overwrite
        Whether existing files that match the pattern are replaced and, where this run has none of their number,
        removed.
    shown
        What messages call the target; its own name if omitted.

    Attributes
    ----------
    imprints
        Those of the files so far, taken as they were encoded.
    """

    def __init__(
        self, target: Path, map_format: MapFormat, *, overwrite: bool = False, shown: Path | None = None
    ) -> None:
        self._encode = _encode_npy if map_format.components == 2 else _ENCODERS[target.suffix.lower()]
        if self._encode is _encode_png and map_format.dtype not in (np.uint8, np.uint16):
            raise SpecError(
                f"output {str(shown or target)!r}: .png cannot hold {map_format.dtype} maps; use .tif or .npy"
            )
        super().__init__(target, map_format, overwrite=overwrite, folder=True, shown=shown)
        self._files = NumberedFiles(target)
        self._indices = array("q")
        self.imprints: list[Imprint] = []

    def _write(self, data: Picture, index: int, pts_seconds: float) -> None:  # noqa: ARG002  (pictures have no time)
        # Encoded in memory first: the picture libraries hide why a write to the disk failed.
        path = self._staged_file(index)
        if self.format.components == 2:
            write_field(path, data)
            self.imprints.append(imprint(path.read_bytes()))
        else:
            content = self._encode(np.ascontiguousarray(data), self.format.metadata)
            self.imprints.append(imprint(content))
            with path.open("xb", buffering=0) as file:
                write_all(file, content)
        self._indices.append(index)

    def _finish(self) -> None:
        for index in self._indices:
            if self._cancelled:
                return
            sync_file(self._staged_file(index))
        sync_folder(self._staged.path)

    def _publish(self) -> None:
        for path in list(self._files.existing()):
            if path.is_symlink() or not path.is_dir():  # a folder stays, and stops a picture of its name
                path.unlink()
        for index in self._indices:
            self._staged_file(index).replace(self._files.path(index))
        self._staged.sync_names()
        shutil.rmtree(self._staged.path, ignore_errors=True)

    def _staged_file(self, index: int) -> Path:
        return self._staged.path / self._files.name(index)


def encode_picture(path: Path, data: Picture, metadata: Mapping[str, str]) -> memoryview:
    """Return the content of a .png, .tif or .npy file with one picture.

    Parameters
    ----------
    path
        Its name tells the format.
    data
        (H, W) uint8 or uint16, for .tif and .npy also float32.
    metadata
        Names and values (text) that go into the file where it has a place for them.
    """
    return _ENCODERS[path.suffix.lower()](np.ascontiguousarray(data), metadata)


def _encode_png(data: Picture, metadata: Mapping[str, str]) -> memoryview:
    texts = PngImagePlugin.PngInfo()
    for name, value in metadata.items():
        texts.add_text(name, value)
    file = io.BytesIO()
    # The fast level: six times as fast as the usual one, for a quarter more bytes.
    Image.fromarray(data).save(file, "PNG", compress_level=1, pnginfo=texts)
    return file.getbuffer()


def _encode_tiff(data: Picture, metadata: Mapping[str, str]) -> memoryview:
    import tifffile  # noqa: PLC0415  (slow to import, and few jobs need it)

    # zlib saves a fifth of a float map for forty times the time, and its predictor for floats needs one more package.
    codes = {"compression": "zlib", "predictor": 2, "compressionargs": {"level": 1}} if data.dtype.kind == "u" else {}
    file = io.BytesIO()
    tifffile.imwrite(
        file, data, photometric="minisblack", description=json.dumps(dict(metadata)), metadata=None,
        software="framencc", **codes,
    )  # fmt: skip
    return file.getbuffer()


def _encode_npy(data: Picture, metadata: Mapping[str, str]) -> memoryview:  # noqa: ARG001  (the format has no metadata)
    file = io.BytesIO()
    np.save(file, data, allow_pickle=False)
    return file.getbuffer()


_ENCODERS: dict[str, Encode] = {
    ".png": _encode_png,
    ".tif": _encode_tiff,
    ".tiff": _encode_tiff,
    ".npy": _encode_npy,
}
