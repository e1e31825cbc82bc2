"""One picture file: PNG, JPEG, TIFF or .npy, read whole and without loss, or refused.

The content decides what a file is, not its name, and only these readers are tried: a renamed file reaches no other
decoder. Pillow's readers are called directly because `PIL.Image.open` only warns of a decompression bomb, and because
its PNG reader halves 16-bit colour to 8 bits without a word.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from framencc import jpeg, npy, png
from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import Picture
from framencc.lookup import require_file
from framencc.npy import map_npy, read_npy_header
from framencc.sequences import start_of
from framencc.sources.limits import DEFAULT_LIMITS, SizeLimits
from framencc.sources.selection import copy_into
from framencc.sources.significant import Codes
from framencc.sources.tiff import (
    MIN_IS_WHITE,
    PALETTE,
    YCBCR,
    check_directories,
    check_kind,
    find_picture,
    photometric_of,
    remarks_for_debugging,
    stored_bits,
)
from framencc.sources.tiff_samples import COMPRESSIONS, read_samples
from framencc.sources.wanted import LUMA, Taken, Wanted, refuse_transparency

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER_FORMATS = {
    "GIF": rb"GIF8",
    "BMP": rb"BM",
    "OpenEXR": rb"\x76\x2f\x31\x01",
    "DPX": rb"SDPX|XPDS",
    "Radiance HDR": rb"#\?R(ADIANCE|GBE)",
    "WebP": rb"RIFF....WEBP",
    "HEIF": rb"....ftyp(hei|hev|mif|msf)",
    "AVIF": rb"....ftypavi",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "PSD": rb"8BPS",
}
_ORIENTATION = 274
_COLOUR_MAP = 320


def read_picture(path: str | Path, *, what: str = "picture") -> Picture:
    """Read the luma of one picture; see `take_from_file`."""
    return take_from_file(path, LUMA, what=what).data


def take_from_file(
    path: str | Path,
    wanted: Wanted,
    *,
    what: str = "picture",
    max_pixels: int = DEFAULT_LIMITS.max_pixels,
    look: bool = False,
) -> Taken:
    """Read what is wanted of one picture.

    A picture is turned as its EXIF or TIFF orientation asks for; palettes are applied unless their indices are wanted;
    1-bit pictures become 0 and 255.

    Parameters
    ----------
    path
        The file.
    wanted
        What to take out of it.
    what
        How messages name its role.
    max_pixels
        A larger picture is refused unread.
    look
        Also look at the codes that it holds; see `Taken.codes`.

    Returns
    -------
    Taken
        C-contiguous arrays of the dtype that `wanted` says.

    Raises
    ------
    SpecError
        When there is no such file.
    SourceError
        When it is no picture that can be read without loss.
    DamagedInputError
        When it is such a picture, but broken.
    """
    path = Path(path)
    where = f"{what} {str(path)!r}"
    require_file(path, where)
    try:
        limits = replace(DEFAULT_LIMITS, max_pixels=max_pixels)
        stored = _reader(path, where)(path, where, _Reading(wanted.keep_palette, limits))
    except (SourceError, SpecError):
        raise
    except OSError as error:
        if error.errno is None:  # not the system's: a decoder says so of a file that ends early
            raise DamagedInputError(f"{where} is damaged: {_one_line(error)}") from None
        raise SourceError(f"{where} cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise SourceError(f"{where} cannot be read: it needs more memory than there is") from error
    except Exception as error:  # noqa: BLE001  (a damaged file makes the decoders raise nearly anything)
        raise DamagedInputError(f"{where} is damaged: {_one_line(error)}") from None
    taken = _take(stored.data, wanted, where)._replace(packed_bits=stored.packed_bits)
    return taken._replace(codes=Codes.of(stored.data, stored.bits)) if look else taken


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a file is to be read, whatever its format."""

    keep_palette: bool
    limits: SizeLimits


class _Stored(NamedTuple):
    """A picture as it is stored, upright; what its file says of `bits` that are significant, and that it packs."""

    data: Picture
    bits: int | None = None
    packed_bits: int | None = None


def _reader(path: Path, where: str) -> Callable[[Path, str, _Reading], _Stored]:
    start = start_of(path, where)
    if start == png.SIGNATURE:
        return _read_png
    if start.startswith(b"\xff\xd8"):
        return _read_jpeg
    if start.startswith(_TIFF):
        return _read_tiff
    if start.startswith(npy.START):
        return _read_npy
    raise SourceError(f"{where} is no PNG, JPEG, TIFF or .npy file{_other_format(path)}")


def _other_format(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    names = [name for name, magic in _OTHER_FORMATS.items() if re.match(magic, start, re.DOTALL)]
    return f", but {names[0]}; convert it to PNG or TIFF" if names else ""


def _read_png(path: Path, where: str, reading: _Reading) -> _Stored:
    from PIL import PngImagePlugin  # noqa: PLC0415  (needed only by jobs that touch pictures)

    def accept(header: png.Header) -> None:
        reading.limits.check_pixels(header.height, header.width, where)

    content, header = png.read(path, where, accept)
    if header.is_16_bit_colour:
        colours = png.decode_16_bit_colour(content, header, where)
        if header.may_be_turned:
            colours = _turn(colours, _orientation(PngImagePlugin.PngImageFile(io.BytesIO(content))))
        return _Stored(colours, header.significant_bits)
    if header.bit_depth == 16 and header.colour_type != 0:
        raise SourceError(f"{where} is a 16-bit PNG with alpha, which cannot be read without loss; store it as TIFF")
    picture = _of_image(PngImagePlugin.PngImageFile(io.BytesIO(content)), where, reading)
    if reading.keep_palette and header.colour_type == 0 and 1 < header.bit_depth < 8:
        picture = picture // np.uint8(255 // (2**header.bit_depth - 1))  # Pillow stretches fewer bits to 8
    return _Stored(picture, header.significant_bits)


def _read_jpeg(path: Path, where: str, reading: _Reading) -> _Stored:
    from PIL import JpegImagePlugin  # noqa: PLC0415

    content = jpeg.read(path, where, lambda height, width: reading.limits.check_pixels(height, width, where))
    return _Stored(_of_image(JpegImagePlugin.JpegImageFile(io.BytesIO(content)), where, reading))


def _of_image(image: Any, where: str, reading: _Reading) -> Picture:
    width, height = image.size
    reading.limits.check_pixels(height, width, where)
    if reading.keep_palette and image.mode in ("P", "PA") and (image.mode == "PA" or "transparency" in image.info):
        # Palette and alpha: as a picture of RGBA would be, it is refused unless it is opaque.
        try:
            refuse_transparency(np.asarray(image.convert("RGBA"))[:, :, 3])
        except ValueError as error:
            raise SpecError(f"{where} {error}") from None
    if image.mode in ("P", "PA") and not reading.keep_palette:
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif "transparency" in image.info and image.mode in ("L", "RGB"):
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    if image.mode == "I" and image.format == "PNG":  # 16-bit gray, as Pillow 10.0 gave it
        return np.asarray(image).astype(np.uint16)
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "F") and not image.mode.startswith("I;16"):
        raise SourceError(f"{where} has colour mode {image.mode}; convert it to gray or RGB")
    stored = np.asarray(image)
    return _turn(stored.astype(stored.dtype.newbyteorder("="), copy=False), _orientation(image))


def _orientation(image: Any) -> int:
    """Return what an image of Pillow says, whose pixels have been read; what cannot be read says nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except SyntaxError:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _read_tiff(path: Path, where: str, reading: _Reading) -> _Stored:
    import tifffile  # noqa: PLC0415

    check_directories(path, where)
    with remarks_for_debugging(), tifffile.TiffFile(path) as file:
        page = find_picture(file, where)
        reading.limits.check_pixels(page.imagelength, page.imagewidth, where)
        layout = check_kind(page, where)
        if page.is_tiled:  # one tile may be larger than the picture
            reading.limits.check_pixels(page.tilelength, page.tilewidth, f"a tile of {where}")
        orientation, kind = page.tags.valueof(_ORIENTATION, 1), photometric_of(page)
        if page.compression not in COMPRESSIONS or kind == YCBCR:
            return _read_tiff_by_pillow(path, page, where, reading)
        picture, bits = read_samples(page, layout, where), stored_bits(page)
        colours = np.asarray(page.tags.valueof(_COLOUR_MAP, ()))
    n_codes = 2**layout.bits
    if kind == PALETTE and not reading.keep_palette:
        if colours.size != 3 * n_codes:
            raise DamagedInputError(f"{where} is damaged: its palette has {colours.size} numbers for {n_codes} codes")
        table = (colours.reshape(3, n_codes) >> 8).astype(np.uint8).T
        codes = picture.reshape(*picture.shape[:2], -1)
        coloured = [table[codes[:, :, 0].view(np.uint8)], codes[:, :, 1:]]  # behind the codes there may be alpha
        return _Stored(_turn(np.concatenate(coloured, axis=2), orientation))
    if kind == MIN_IS_WHITE:
        if picture.dtype.kind == "u":
            if bits is not None and picture.max() < 1 << bits:
                n_codes = 1 << bits  # the others are not in use
            picture = picture.dtype.type(n_codes - 1) - picture
        else:
            picture = ~picture if picture.dtype.kind == "b" else -picture
    if layout.bits in (2, 4) and not reading.keep_palette:
        picture = picture * np.uint8(255 // (n_codes - 1))  # as fewer bits of a PNG are
    is_packed = picture.dtype == np.uint16 and layout.bits < 16
    return _Stored(_turn(picture, orientation), bits, layout.bits if is_packed else None)


def _read_tiff_by_pillow(path: Path, page: Any, where: str, reading: _Reading) -> _Stored:
    from PIL import TiffImagePlugin  # noqa: PLC0415

    if page.is_subifd:
        raise SourceError(f"{where} holds its picture below a preview, compressed; store it uncompressed or with LZW")
    if page.parent.byteorder == ">" and (page.parent.is_bigtiff or page.bitspersample > 16):
        # Pillow takes the one for damaged, and the floats of the other for little-endian.
        raise SourceError(f"{where} is a compressed TIFF in big-endian order; store it uncompressed or with LZW")
    if page.tags.valueof(_ORIENTATION, 1) in range(2, 9):
        raise SourceError(f"{where} is a compressed TIFF that asks to be turned; store it upright")
    with path.open("rb") as file:
        try:
            image = TiffImagePlugin.TiffImageFile(file)
            image.seek(page.index)
        except SyntaxError as error:
            if "unknown" not in str(error):
                raise
            # Pillow says of a file that is whole that it does not know such samples.
            raise SourceError(f"{where} is of a kind that is not read; convert it to gray or RGB") from None
        return _Stored(_of_image(image, where, reading))


def _read_npy(path: Path, where: str, reading: _Reading) -> _Stored:
    header = read_npy_header(path, where)
    if header.dtype.kind not in "buif" or header.dtype.itemsize > 8:  # one sample can be gigabytes
        raise SourceError(f"{where} has samples of type {header.dtype}; use uint8, uint16, float32 or float64")
    if len(header.shape) not in (2, 3) or not 1 <= (*header.shape, 1)[2] <= 4:
        raise SourceError(f"{where} must be (H, W) or (H, W, 1 to 4), not {header.shape}")
    reading.limits.check_pixels(header.shape[0], header.shape[1], where)
    return _Stored(np.array(map_npy(path, header)))


def _turn(picture: Picture, orientation: int) -> Picture:
    """Bring a picture upright: EXIF orientations 2 to 8 are the seven other ways to lay a rectangle.

    Any other value says nothing, as in EXIF readers at large.
    """
    if orientation in (5, 6, 7, 8):
        picture = np.swapaxes(picture, 0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture


def _take(picture: Picture, wanted: Wanted, where: str) -> Taken:
    if picture.dtype == np.bool_:
        # Black and white; as labels 0 and 1.
        picture = picture.astype(np.uint8) * np.uint8(1 if wanted.keep_palette else 255)
    dtype = wanted.dtype(picture.dtype)
    if dtype is None:
        use = "integers" if wanted.keep_palette else "uint8, uint16, float32 or float64"
        raise SourceError(f"{where} has samples of type {picture.dtype}; use {use}")
    try:
        taken = wanted.take(picture)
    except ValueError as error:
        raise SpecError(f"{where} {error}") from None
    data = np.empty(taken.data.shape, dtype)
    copy_into(data, taken.data)
    return taken._replace(data=data)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
