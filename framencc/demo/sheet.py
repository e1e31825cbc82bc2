"""The contact sheet: pictures in rows and columns, captions, and what the grays of the last column mean."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from framencc.frames import Picture
from framencc.render import GRAY
from framencc.render.text import Font, draw_scale, font, line_height
from framencc.sinks.base import sink_error
from framencc.staging import Staged

_WHITE, _INK = 255, 40


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row of a sheet.

    Parameters
    ----------
    caption
        Stands upright at the row's left.
    pictures
        One (H, W) uint8 picture for every column, all of one size.
    """

    caption: str
    pictures: tuple[Picture, ...]


def draw_sheet(columns: Sequence[str], rows: Sequence[SheetRow], footer: str, *, width: int) -> Image.Image:
    """Draw a contact sheet.

    Parameters
    ----------
    columns
        Headings; the last column is the confidence, and a scale of its grays stands below it.
    rows
        What to show, from top to bottom.
    footer
        A line of text below the pictures, at the left.
    width
        Width of the sheet in pixels; its height follows.

    Returns
    -------
    PIL.Image.Image
        The sheet, in gray.
    """
    font_size = max(11, width // 62)
    letters, line = font(font_size), line_height(font_size)
    gap = max(4, width // 160)
    cell_width = (width - line - gap * (len(columns) + 1)) // len(columns)
    picture_height, picture_width = rows[0].pictures[0].shape
    cell_height = round(cell_width * picture_height / picture_width)
    bottom = gap + line + len(rows) * (cell_height + gap)
    sheet = Image.new("L", (width, bottom + 2 * line + gap), _WHITE)
    draw = ImageDraw.Draw(sheet)
    lefts = [line + gap + number * (cell_width + gap) for number in range(len(columns))]
    for left, heading in zip(lefts, columns, strict=True):
        draw.text((left + cell_width / 2, gap + line / 2), heading, fill=_INK, font=letters, anchor="mm")
    for number, row in enumerate(rows):
        top = gap + line + number * (cell_height + gap)
        sheet.paste(_upright(row.caption, (cell_height, line), letters), (gap // 2, top))
        for left, picture in zip(lefts, row.pictures, strict=True):
            shown = Image.fromarray(picture).resize((cell_width, cell_height), Image.Resampling.LANCZOS)
            sheet.paste(shown, (left, top))
            # The maps are white at their edges, and so is the paper.
            draw.rectangle((left, top, left + cell_width - 1, top + cell_height - 1), outline=150)
    draw.text((lefts[0], bottom + line / 2), footer, fill=_INK, font=letters, anchor="lm")
    draw_scale(sheet, (lefts[-1], bottom, cell_width, 2 * line), GRAY, font_size, (_INK, _INK, _INK))
    return sheet


def save_png(picture: Picture | Image.Image, target: Path) -> None:
    """Write a picture as PNG; it appears whole or not at all, in place of an older one.

    Raises
    ------
    SinkError
        When it cannot be written.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    try:
        staged = Staged(target)
        try:
            staged.path.write_bytes(content.getbuffer())
            staged.publish(target.name)
        except BaseException:
            staged.discard()
            raise
    except OSError as error:
        raise sink_error(target, error) from error


def _upright(text: str, size: tuple[int, int], letters: Font) -> Image.Image:
    """Draw a line of text, read from below."""
    strip = Image.new("L", size, _WHITE)
    ImageDraw.Draw(strip).text((size[0] / 2, size[1] / 2), text, fill=_INK, font=letters, anchor="mm")
    return strip.transpose(Image.Transpose.ROTATE_90)
