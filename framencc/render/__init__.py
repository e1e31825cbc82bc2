"""How a map becomes something to look at: gray codes, and pictures for people."""

from framencc.render.codes import encode, weigh
from framencc.render.colours import GRAY, HEAT
from framencc.render.layout import PreviewLayout
from framencc.render.preview import Preview

__all__ = ["GRAY", "HEAT", "Preview", "PreviewLayout", "encode", "weigh"]
