"""Joins the page's JavaScript modules into one script, without JavaScript tools.

A module imports only names, from modules in the same folder, and exports functions and constants. Each module becomes a
function that is called once and returns its exports. Cyclic imports are therefore an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", re.MULTILINE)


def bundle(entry: str = "main") -> str:
    """Returns the script of a module and all its direct and indirect imports, in topological order."""
    modules = dict(_in_order(entry, ()))
    return "\n".join(_as_function(name, source) for name, source in modules.items())


def _as_function(name: str, source: str) -> str:
    names = ", ".join(EXPORT.findall(source))
    body = EXPORT.sub("", IMPORT.sub(r"const \1 = \2_js;\n", source)).strip()
    return f"const {name}_js = (() => {{\n{body}\nreturn {{ {names} }};\n}})();\n"


def _in_order(name: str, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yields the modules that a module needs, then the module; may yield a module several times."""
    assert name not in above, f"a cycle of imports: {' -> '.join([*above, name])}"
    source = (files("convoy.exploring") / "js" / f"{name}.js").read_text(encoding="utf-8")
    for _names, imported in IMPORT.findall(source):
        yield from _in_order(imported, (*above, name))
    yield name, source
