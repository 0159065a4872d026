"""Finds a font for the reader's language, because matplotlib's own font has no Chinese characters."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

from matplotlib import font_manager

from convoy.text import gettext as _
from convoy.text import messages, page_language

LATIN = "DejaVu Sans"
CHINESE = (  # on Linux, Windows and macOS; matplotlib reads the first font of a collection, such as Noto Sans CJK JP
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "Noto Sans CJK JP",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB",
    "Heiti SC", "Heiti TC", "STHeiti", "Arial Unicode MS", "SimSun",
)  # fmt: skip
LAST = "Droid Sans Fallback"  # without bold characters
_CHINESE_LETTER = re.compile("[\u3400-\u9fff]")


def families() -> list[str]:
    """Returns the fonts of a figure, in order of preference."""
    if not page_language().startswith("zh"):
        return [LATIN]
    font = chinese_font()
    return [LATIN] if font is None else [LATIN, font]


@cache
def chinese_font() -> str | None:
    """Returns the first installed font of CHINESE. If there is none, prints a warning once."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    if installed.isdisjoint(CHINESE):  # one may have been installed after matplotlib listed the fonts
        for path in font_manager.findSystemFonts():
            if re.search("CJK|wqy|SourceHan|msyh|simhei|simsun|PingFang", Path(path).name, re.IGNORECASE):
                font_manager.fontManager.addfont(path)
        installed = {font.name for font in font_manager.fontManager.ttflist}
    font = next((name for name in (*CHINESE, LAST) if name in installed), None)
    if font is None:
        advice = "Noto Sans CJK SC (apt install fonts-noto-cjk)"
        message = _(
            "no font with Chinese characters is installed, so figures are in English; install {font}", font=advice
        )
        print(message, file=sys.stderr)
    return font


def drawable(text: str) -> str:
    """Returns the English message of a Chinese text if no font has its characters."""
    if _CHINESE_LETTER.search(text) is None or not page_language().startswith("zh") or chinese_font() is not None:
        return text
    for english, chinese in messages().items():
        pattern = re.sub(r"\\{(\w+)[^}]*\\}", "(.+)", re.escape(chinese))
        if match := re.fullmatch(pattern, text):
            for name, value in zip(re.findall(r"{(\w+)", chinese), match.groups(), strict=True):
                english = re.sub(rf"{{{name}[^}}]*}}", drawable(value).replace("\\", ""), english)
            return english
    return text
