"""The colours of confidence.

The tables are matplotlib's "viridis" and "inferno" (lib/matplotlib/_cm_listed.py, 256 colours each, rounded to 8 bits),
by Stefan van der Walt and Nathaniel Smith, with Eric Firing for viridis, who placed them in the public domain under
CC0 (https://bids.github.io/colormap). Equal steps of the value look like equal steps of the colour, also in gray and
to people who are red-green blind.
"""

import base64

import numpy as np
import numpy.typing as npt

from framencc.kernels.preview import NOT_MEASURED
from framencc.shades import UNMEASURED

Table = npt.NDArray[np.uint8]
Tint = npt.NDArray[np.int32]

# Base 85 of red, green, blue, red, ...
_VIRIDIS = (
    "L;+Mp0#-!?S49O`Mh99(2wX-AT}BIDM-5;{4q-<SV@DBWM-yd86lX{lXh;`nNEm8J8f-"
    "`#ZAct$NF8rTA8<$@aY!L^NF#JeBy~t7c1R|7NGNznDS1aKdPgjJM=g6tE__EXeMT^TMlyazGk-=jfJHTdMK^&(ID$kugG4%mL_35-"
    "J%mF(g+f1tLO_N>L54v>he1S#Kt+f^Mu<O0h(Ab)K1qo_N{K#9iakw=Jx+=|Pl`NHi#t(^J5q}}Q;RxOj5$?|IaZ7~Sd2JXj5k`0H(QN1T#YtejW"
    "u44HD8T1V2w0kjWc46Gh>Z1WR5arjxlDAF=vi3XpS&xjxcJDFKdo3Y>qB%jxKJFE^m%4aE>i;jx2GGEOL%4bB-%?jw^MJDt3-"
    "4caAD}jwyMLDSD16dyXi4jwpSOCw`76e~u@BjwXSQCW4M8f{rDFjwOVSC54V8hK?kMjw6VUBZ-"
    "b9ij5+RjUtSVB8`n9j*TIYjUkYYA(4zAl8hjdj3ASYAC!zAm5U#iiyxPZADD|DnTj8piXNMa9-N6Dorxcwi65VcAE1aIp@<)$haaMcAftvLq=q4-"
    "g(0SeBBzBSsDvY_gCwehC98rZtb!)3fhVnjD6W7huYW4Ae=M<nEwX(svwSbKd@;3qGPZg&ws|$Tc{jLtIJtK^x^_Febv?XvKfH55y>ddnaYVmxM!"
    ";`K!EQ>yZA`*!PQz<Z#A;H-X;j5%R>o&o$7Nc`WL(H&Uddu$%3x#5UuDZ)XUtq_&0B2ET5ir*aL-"
    "qB&{lQORCm!+deKpQ(olcXPJz=+gw#uh)k%rfNQ>4+j@Ctx*F%%nL6z7*nAkp>**u-uJD}P*qS`m5+cv1%G^*S(t=urM-7m7;Ew$b&xZWwc-"
    "YC7_Ccxh%!rvps;33H1Aj;t%&EXx;;T+Q98`a_(*y0)5;~CxK7~kU<;^Y|R<QeDW8S3R4?ByHp<s9+l9rWfN_U0h?<{|s%BmL(k"
)
_INFERNO = (
    "000C500jX71_1#G0s#sF0t^BI4g&%Z1OpNT0~7@W7X}0w2L&4l1sw?n9|{K|3kM_&2qp~(DGmuM5D6_23NR81G879m6$>{O3pp4JJQ)l=8w^1l3_"
    "~6aMIQ`EAq+|*3``^pPbLgeC<{|53sox%S1k)!FA7^R3S2S@UNj0{HVI)k31T@3V>=0CJqcw#31&bFXF>{SL<(p{3Ta0RYDo)fN(^gE3~NmdY)=h"
    "rQ4VZU4sBEqZB-9#R}gMl5N=u#Zd?*>T@r3z6K-"
    "J>ZekQ}WEE~@6>eu1ZfO>7Y8P&77;bGCZf_ZGaT#uM8g6tNZgm@OcN}ea9Bq0XZG0VVeI9Lp9&CUgY=R(cgdl5$A!~;rYltFhiXv)^BWaBzX^$jn"
    "kR@o6C1{f-XO$*rmnUYJCuW)`Wt%Bvohf9WDr2B3W1=f!qby;iEMTTBV5lx%sV-itFJ7%MU9K=(urXV)GFr1TTC_7+wlr9`HCMScR=PG-yf;+6I8"
    "(nlQouS<!8%aGJ5R(sPR2b=$39HRKTFC$O3Oh>%tA=cLr2d<M$kn?(ndtnM?=&|Le)w^*GoUxOg`C7J=#t@+fX~*Q99mIINwt@;8ix^RyE>RG~-"
    "z_<XSQ1TrlQcFXvt^=wL1BVJqrmD(hq^>t-nIXD01wCGKh@?`$LQZXxh*An|b@@pB#WbR6?`8}oP>^m!Qddl&V67507<_J9-"
    "jf)e+H5cq`;_=gVoi46IR3;B!+`Hl(tkO=yc2l|u;`<4d#mj?Tp2K$=^`<(~;p9lP*2>hc7{G|%~rVRY34g9JP{HziDt`hvP6#TLl{InSRwi^4m9"
    "s9Z;`@A9hz9ag;Ci=oC`ot>w#x42BFZszb`O7u<%{TbZI``2%_tQZ3)kF5zM)lcA_1jGJ-"
    "B0x2Q}p3h^W$3c<z4dTVe;r@^6F{v>}~Pwaq;hU@$q@`@_q93g7fu;^Y)7L_>T4YlJ@$R`1_jq{GIy!q5S`("
)

_NEUTRAL = (128, 128, 128)  # no colour, so it is no value of a coloured one
_UNMEASURED_TINT = (88, 140, 255)
_UNMEASURED_SHARE = 0.6  # of the strength


def _table(text: str) -> Table:
    return np.frombuffer(base64.b85decode(text), np.uint8).reshape(256, 3)


def _palette(colours: Table, unmeasured: tuple[int, int, int]) -> Table:
    assert len(colours) == NOT_MEASURED
    palette = np.vstack([colours, np.array([unmeasured], np.uint8)])
    palette.flags.writeable = False
    return palette


GRAY = _palette(np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 3), UNMEASURED)
"""(257, 3) uint8: the grays of the codes 0 to 255, and a blue where nothing was measured."""

HEAT = _palette(_table(_VIRIDIS), _NEUTRAL)
"""(257, 3) uint8: viridis, purple for no confidence and yellow for full; a gray where nothing was measured."""


def doubt(strength: float) -> Tint:
    """Say how an overlay tints the frame: the less a pixel is believed, the more.

    Full confidence leaves the frame as it is; no confidence covers it with inferno's yellow, what lies between with
    its oranges and reds. What was not measured is tinted blue, which is none of them.

    Parameters
    ----------
    strength
        0 (the frame alone) to 1 (no confidence covers it wholly).

    Returns
    -------
    numpy.ndarray
        (257, 4) int32, in units of 2^-16: the share of the frame's gray that is left, and red, green and blue to add.
    """
    share = np.append(np.linspace(strength, 0, 256), strength * _UNMEASURED_SHARE)[:, np.newaxis]
    colours = np.vstack([_table(_INFERNO)[::-1], [_UNMEASURED_TINT]])
    # Rounded down, so that no sum of a share of 255 and the rest of it is more than 255.
    tint: Tint = np.floor(np.hstack([1 - share, share * colours]) * (1 << 16)).astype(np.int32)
    return tint


def opaque(palette: Table) -> Tint:
    """Return the tint, as `doubt` does, that leaves nothing of the frame and adds the colours of a palette."""
    tint: Tint = np.hstack([np.zeros((len(palette), 1), np.int32), palette.astype(np.int32) << 16])
    return tint


def over_gray(tint: Tint, shade: int = 128) -> Table:
    """Return the palette, (257, 3) uint8, that a tint makes of one shade of gray."""
    palette: Table = (tint[:, :1] * shade + tint[:, 1:] + (1 << 15) >> 16).astype(np.uint8)
    return palette
