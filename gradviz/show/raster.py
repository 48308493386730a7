"""Our SVG as PNG and PDF, with the fonts this machine has."""

from __future__ import annotations

import importlib.util
import io
import re
from functools import cache
from pathlib import Path

import numpy as np

_PROBE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">'
    '<text x="2" y="16" font-size="16" font-family="Helvetica, Arial, sans-serif">H</text></svg>'
)

_LACKING = {
    "[\u4e00-\u9fff]": "Noto Sans CJK SC, Source Han Sans SC, WenQuanYi Micro Hei, "
    "WenQuanYi Zen Hei, Microsoft YaHei, PingFang SC, Heiti SC, SimHei",
    "‖": "DejaVu Sans, Noto Sans Math, STIX Two Math, Cambria Math, Segoe UI Symbol",
}
"""What the text's font may lack, and who has it: else any font is taken, for the whole text."""


class FontError(RuntimeError):
    """This machine has no font, so a picture of pixels would lack its text."""


def to_png(svg: str, zoom: float = 2.0) -> bytes:
    """PNG of an SVG.

    Raises
    ------
    ImportError
        If `resvg_py`, which has no wheel for some platforms, is not installed.
    FontError
        If this machine has no fonts.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise ImportError("saving a PNG needs: pip install resvg-py (or save as .svg)") from error
    fonts = _fonts()
    svg = _readable(svg)
    if not fonts:
        return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom))
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=zoom,
            font_files=list(fonts),
            sans_serif_family="DejaVu Sans",
            serif_family="DejaVu Serif",
        )
    )


def to_pixels(png: bytes) -> np.ndarray:
    """A PNG as an array of bytes.

    Raises
    ------
    ImportError
        If pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("a picture as an array needs: pip install pillow") from error
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def to_pdf(svg: str) -> bytes:
    """PDF of an SVG, its text kept as text where the fonts allow it.

    Raises
    ------
    ImportError
        If the extra that does it is not installed.
    FontError
        If this machine has no fonts.
    """
    try:
        import svg2pdf_py
    except ImportError as error:
        raise ImportError(
            'saving a PDF needs the extra "pdf" of gradviz-dag: pip install svg2pdf-py'
        ) from error
    database = svg2pdf_py.FontDatabase.system()
    for file in _fonts():
        database.load_font_file(file)
    svg = _readable(svg)
    try:
        return bytes(svg2pdf_py.svg_to_pdf(svg, database))
    except RuntimeError:  # some fonts, such as colour emoji, cannot be embedded: draw the outlines
        outlines = svg2pdf_py.ConversionOptions(embed_text=False)
        return bytes(svg2pdf_py.svg_to_pdf(svg, database, outlines))


def _readable(svg: str) -> str:
    """The SVG with the texts that Helvetica lacks signs of in a font that has them."""
    for sign, families in _LACKING.items():
        lacking = rf"<text (?=[^>]*>[^<]*{sign})(?![^>]*font-family)"
        svg = re.sub(lacking, f'<text font-family="{families}, sans-serif" ', svg)
    return svg


@cache
def _fonts() -> tuple[str, ...]:
    """Font files to use: none where the system has its own, else those that matplotlib carries."""
    import resvg_py

    blank = _PROBE.replace(">H<", "><")
    if resvg_py.svg_to_bytes(svg_string=_PROBE) != resvg_py.svg_to_bytes(svg_string=blank):
        return ()
    found = importlib.util.find_spec("matplotlib")
    if found and found.origin:
        folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
        files = sorted(str(path) for path in folder.glob("DejaVuS*.ttf"))
        if files:
            return tuple(files)
    raise FontError(
        "no fonts are installed on this machine, so the picture would have no text; install some "
        "(for instance the system package fonts-liberation), or save as .svg instead"
    )
