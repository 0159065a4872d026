"""A Sphinx extension: the pages of docs/zh are Chinese, in `lang` and in the words that Sphinx and the theme add."""

from __future__ import annotations

import gettext
import re
from pathlib import Path
from typing import Any

import sphinx
from markupsafe import Markup
from sphinx.application import Sphinx

CATALOG = gettext.translation("sphinx", Path(sphinx.__file__).with_name("locale"), ["zh_CN"])
WORDS = {  # of furo, which has no catalog
    "Back to top": "返回顶部",
    "Copyright &#169; %(copyright)s": "版权所有 &#169; %(copyright)s",
    "Home": "首页",
    "Made with ": "使用 ",
    "Next": "下一页",
    "On this page": "本页内容",
    "Previous": "上一页",
    "Skip to content": "跳到正文",
    "View this page": "查看本页源文件",
    '<a href="https://www.sphinx-doc.org/">Sphinx</a> and ': '<a href="https://www.sphinx-doc.org/">Sphinx</a> 和 ',
}
LABELS = {  # of furo's buttons and icons, which are not in its calls of gettext
    "Auto light/dark, in dark mode": "自动主题，当前为深色",
    "Auto light/dark, in light mode": "自动主题，当前为浅色",
    "Contents": "目录",
    "Dark mode": "深色主题",
    "Expand": "展开",
    "Light mode": "浅色主题",
    "Link to this heading": "此标题的链接",
    "Menu": "菜单",
    "Toggle Light / Dark / Auto color theme": "切换主题：浅色、深色或自动",
    "Toggle site navigation sidebar": "打开或关闭网站导航",
    "Toggle table of contents sidebar": "打开或关闭本页目录",
}
LABEL = re.compile(r'((?:title|label)="|<title>)(' + "|".join(map(re.escape, LABELS)) + ')(?="|</title>)')


def translated(message: str) -> str:
    return WORDS.get(message) or CATALOG.gettext(message)


def with_labels(body: str) -> Markup:
    return Markup(LABEL.sub(lambda match: match[1] + LABELS[match[2]], body))


def set_language(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Sets the language, and overrides the gettext of the templates, on a page of docs/zh."""
    if page.startswith("zh/"):
        context |= {"language": "zh-CN", "_": translated, "gettext": translated, "with_labels": with_labels}


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", set_language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
