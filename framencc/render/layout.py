"""Where everything of a preview stands."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from framencc.frames import Picture
from framencc.kernels.preview import NOT_MEASURED
from framencc.render.colours import Table
from framencc.render.text import Colour, draw_scale, draw_text, line_height, text_width
from framencc.spec import PreviewStyle

PAPER, INK = (24, 24, 24), (222, 222, 222)

_TITLES = {
    "static": ("static reference", "static"),
    "dynamic": ("dynamic frame", "dynamic"),
    "warped": ("warped dynamic frame", "warped"),
    "confidence": ("confidence",),
}
_KEY = "not measured"
# As long as the text of any frame can be: its number has ten digits at most.
_LONGEST_LINE = "frame 0000000000   000000.000 s"
_SMALLEST_FONT, _LARGEST_FONT = 11, 26
_PIXELS_PER_FONT_SIZE = 64
_SHOWN_AT_LEAST = 144  # smaller pictures are enlarged
_WIDE = 4.0  # wider ones stand above each other
_HATCH, _HATCH_DARK, _HATCH_LIGHT = 12, (70, 26, 30), (128, 44, 48)


@dataclass(frozen=True, slots=True)
class PreviewLayout:
    """A preview's geometry; all of it follows from the style, the limit and the size of the pictures.

    Parameters
    ----------
    height, width
        Of the whole preview in pixels; both are even, as H.264 needs.
    shape
        Height and width of a picture before it is enlarged.
    zoom
        By what whole number it is enlarged, 1 for all but tiny ones.
    places
        Top and left of each picture; the last one is the confidence.
    titles
        What stands above each picture; none for a single one.
    size
        Of the font.
    footer
        Where the space below the pictures begins.
    columns
        Left ends of text, key and scale, or None where they stand below each other.
    """

    height: int
    width: int
    shape: tuple[int, int]
    zoom: int
    places: tuple[tuple[int, int], ...]
    titles: tuple[str, ...]
    size: int
    footer: int
    columns: tuple[int, int, int] | None

    @classmethod
    def choose(
        cls, style: PreviewStyle, limit: int, shape: tuple[int, int], *, warped: bool = False
    ) -> "PreviewLayout":
        """Lay out a preview.

        Parameters
        ----------
        style
            gray, heat, overlay: one picture; panel: three, side by side or, where they are very wide, one above
            another.
        limit
            Longest side in pixels.
        shape
            Height and width of the maps.
        warped
            What the frame in the middle of a panel is called.
        """
        kinds = ("static", "warped" if warped else "dynamic", "confidence") if style == "panel" else ()
        n = max(1, len(kinds))
        stacked = n > 1 and shape[1] > _WIDE * shape[0]
        rows, columns = (n, 1) if stacked else (1, n)
        limit -= limit % 2
        enlarged = max(1, _SHOWN_AT_LEAST // max(shape))
        size = min(limit, max(enlarged * columns * shape[1], 1)) // _PIXELS_PER_FONT_SIZE
        size = max(_SMALLEST_FONT, min(size, _LARGEST_FONT))
        line, gap = line_height(size), max(2, size // 3)
        header = line if kinds else 0
        parts = _footer_widths(size)
        # Two lines of text beside a scale, or all of it below each other.
        beside = min(limit, columns * enlarged * shape[1]) >= sum(parts)
        footer = gap + (2 if beside else 5) * line
        room = limit - footer - rows * header - (rows - 1) * gap, limit - (columns - 1) * gap
        zoom = max(1, min(enlarged, room[0] // (rows * shape[0]), room[1] // (columns * shape[1])))
        scale = min(1.0, room[0] / (rows * shape[0]), room[1] / (columns * shape[1]))
        small = max(1, int(scale * shape[0])), max(1, int(scale * shape[1]))
        cell_height, cell_width = header + zoom * small[0], zoom * small[1]
        shortest = max((text_width(_TITLES[kind][-1], size) for kind in kinds), default=0)
        cell_width = max(cell_width, min(shortest + gap, room[1] // columns))
        content = columns * cell_width + (columns - 1) * gap
        width = _even(max(content, max(parts) + 2 * gap), limit)
        bottom = rows * cell_height + (rows - 1) * gap
        left, places = (width - content) // 2, []
        for number in range(n):
            row, column = (number, 0) if stacked else (0, number)
            x = left + column * (cell_width + gap) + (cell_width - zoom * small[1]) // 2
            places.append((row * (cell_height + gap) + header, x))
        titles = tuple(_fitting(_TITLES[kind], cell_width, size) for kind in kinds)
        ends = (gap, gap + parts[0], gap + parts[0] + parts[1]) if beside else None
        height = _even(bottom + footer, limit)
        return cls(height, width, small, zoom, tuple(places), titles, size, bottom + gap, ends)

    @property
    def line(self) -> int:
        """Height of a line of text."""
        return line_height(self.size)

    @property
    def margin(self) -> int:
        """What is left free beside text."""
        return max(2, self.size // 3)

    @property
    def text_width(self) -> int:
        """How wide text below the pictures may be."""
        return (self.columns[1] if self.columns else self.width) - self.margin

    def empty(self, palette: Table) -> Picture:
        """Draw all that is the same in every frame, (H, W, 3) uint8: titles, key and scale of a palette."""
        image = Image.new("RGB", (self.width, self.height), PAPER)
        draw = ImageDraw.Draw(image)
        for title, (top, left) in zip(self.titles, self.places, strict=False):
            centre = left + self.zoom * self.shape[1] / 2
            start = centre - text_width(title, self.size) / 2
            draw_text(draw, start, top - self.line / 2, title, self.size, INK)
        side = round(0.9 * self.size)
        left, top = (self.columns[1], self.footer) if self.columns else (self.margin, self.footer + 2 * self.line)
        y = top + (self.line - side) // 2
        colour: Colour = tuple(int(value) for value in palette[NOT_MEASURED])  # type: ignore[assignment]
        draw.rectangle((left, y, left + side, y + side), fill=colour, outline=INK)
        draw_text(draw, left + 1.6 * side, top + self.line / 2, _KEY, self.size, INK)
        x, top = (self.columns[2], self.footer) if self.columns else (0, self.footer + 3 * self.line)
        draw_scale(image, (x, top, self.width - x, 2 * self.line), palette, self.size, INK)
        return np.array(image)

    def strike(self, canvas: Picture, numbers: range, why: str) -> None:
        """Draw over pictures of a canvas, by their numbers, and say why there is nothing to show."""
        image = Image.fromarray(canvas)
        height, width = (self.zoom * side for side in self.shape)
        hatch = _hatch(height, width)
        draw = ImageDraw.Draw(hatch)
        if text_width(why, self.size) + self.margin <= width and self.line <= height:
            reach = text_width(why, self.size) / 2 + self.margin
            x, y = width / 2, height / 2
            draw.rectangle((x - reach, y - self.line / 2, x + reach, y + self.line / 2), fill=PAPER)
            draw_text(draw, x - text_width(why, self.size) / 2, y, why, self.size, INK)
        for number in numbers:
            top, left = self.places[number]
            image.paste(hatch, (left, top))
        canvas[:] = np.asarray(image)


def _footer_widths(size: int) -> tuple[int, int, int]:
    """Return how wide text, key and scale are at least."""
    digit = text_width("0" * 10, size) / 10
    text = round(digit * len(_LONGEST_LINE))  # written with one width for all digits, and few letters are wider
    key = text_width(_KEY, size) + 3 * size
    return text, key, 9 * size


def _fitting(titles: tuple[str, ...], width: int, size: int) -> str:
    return next((title for title in titles if text_width(title, size) <= width), titles[-1])


def _even(side: int, limit: int) -> int:
    return min(side + side % 2, limit)


def _hatch(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    stripes = (x + y) // _HATCH % 2 == 0
    return Image.fromarray(np.where(stripes[..., np.newaxis], _HATCH_DARK, _HATCH_LIGHT).astype(np.uint8))
