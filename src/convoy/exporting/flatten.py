"""Copies definitions, with everything that they need from this package, into the source of one module."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = __name__.partition(".")[0]
_FOR_TOOLS = re.compile(r"\s*# (fmt: (skip|off|on)|noqa.*|type: ignore.*)$")  # comments


class _Module:
    """The top-level definitions and imports of a source file."""

    def __init__(self, name: str) -> None:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        text = Path(spec.origin).read_text(encoding="utf-8")
        self.lines = text.splitlines()
        self.definitions: dict[str, ast.stmt] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}  # local name -> (module, name in it)
        for node in ast.parse(text).body:
            match node:
                case ast.FunctionDef(name=defined) | ast.ClassDef(name=defined):
                    self.definitions[defined] = node
                case ast.Assign(targets=targets):
                    names = (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))
                    self.definitions |= dict.fromkeys(names, node)
                case ast.AnnAssign(target=ast.Name(id=defined), value=value) if value is not None:
                    self.definitions[defined] = node
                case ast.Import(names=aliases):
                    self.imports |= {alias.asname or alias.name: (alias.name, None) for alias in aliases}
                case ast.ImportFrom(names=aliases, module=module):
                    self.imports |= {alias.asname or alias.name: (str(module), alias.name) for alias in aliases}

    def source(self, node: ast.stmt) -> str:
        """Returns the lines of a definition, with its decorators and the comments above it."""
        decorators = getattr(node, "decorator_list", [])
        first = (decorators[0].lineno if decorators else node.lineno) - 1
        while first and self.lines[first - 1].startswith("#"):
            first -= 1
        lines = (_FOR_TOOLS.sub("", line) for line in self.lines[first : node.end_lineno])
        return "\n".join(line.rstrip() for line in lines).lstrip("\n")


_parsed = lru_cache(maxsize=64)(_Module)  # parsing the modules of a bundle takes longer than the rest


class FlatModule:
    """Definitions of this package as one module: `imports` and `body`."""

    def __init__(self, roots: Iterable[tuple[str, str]], without: Collection[str] = ()) -> None:
        """Roots are (module, name). Names in `without` are not copied."""
        self._without = without
        self._modules: dict[str, _Module] = {}
        self._used: dict[str, set[str]] = {}  # module -> names of its definitions
        self._needs: dict[str, list[str]] = {}  # module -> modules whose definitions it uses
        self._namespaces: dict[
            str, dict[str, set[str]]
        ] = {}  # module -> its name in importing modules -> attributes used there
        self._aliases: dict[str, dict[str, str]] = {}  # module -> alias in importing modules -> name in the module
        self._external: set[tuple[str, str | None, str]] = set()  # (module, name in it, local name)
        for module, name in roots:
            self._visit(module, name)

    @property
    def imports(self) -> str:
        """The imports of other packages: the standard library first."""
        names: dict[str, list[str]] = {}
        statements = []
        for module, name, local in sorted(self._external, key=lambda each: (each[0], each[1] or "")):
            if name is None:
                statements.append(f"import {module}" + (f" as {local}" if local != module else ""))
            else:
                names.setdefault(module, []).append(name if name == local else f"{name} as {local}")
        statements += [f"from {module} import {', '.join(each)}" for module, each in names.items()]
        return "\n".join(sorted(statements, key=lambda each: (_is_installed(each), each.startswith("from"), each)))

    @property
    def body(self) -> str:
        parts: list[str] = []
        defined: dict[str, str] = {}
        for module in self._ordered():
            parts.append(f"# ---- {module.rpartition('.')[2]} ----")
            parts += [self._modules[module].source(node) for node in self._nodes(module)]
            for name in self._used[module]:
                assert name not in defined, f"{name} is defined in {module} and {defined[name]}"
                defined[name] = module
            parts += [f"{alias} = {name}" for alias, name in self._aliases.get(module, {}).items()]
            for namespace, names in self._namespaces.get(module, {}).items():
                members = ", ".join(f"{name}={name}" for name in sorted(names))
                parts.append(f"{namespace} = SimpleNamespace({members})")
        return _joined(parts)

    def _visit(self, module: str, name: str) -> None:
        if module not in self._modules:
            self._modules[module] = _parsed(module)
        parsed = self._modules[module]
        used = self._used.setdefault(module, set())
        if name in used or name in self._without:
            return
        if name in parsed.definitions:
            used.add(name)
            for node in ast.walk(parsed.definitions[name]):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    self._visit_attribute(module, node.value.id, node.attr)
                elif isinstance(node, ast.Name):
                    self._visit(module, node.id)
        elif name in parsed.imports:
            source, original = parsed.imports[name]
            if not _is_own(source):
                self._external.add((source, original, name))
            elif original is not None and not _is_module(f"{source}.{original}"):
                self._need(module, source)
                if original != name:
                    self._aliases.setdefault(source, {})[name] = original
                self._visit(source, original)

    def _visit_attribute(self, module: str, name: str, attribute: str) -> None:
        """For `blocks.Style` with `from package import blocks`."""
        source, original = self._modules[module].imports.get(name, ("", None))
        target = f"{source}.{original}"
        if _is_own(source) and _is_module(target):
            self._need(module, target)
            self._namespaces.setdefault(target, {}).setdefault(name, set()).add(attribute)
            self._external.add(("types", "SimpleNamespace", "SimpleNamespace"))
            self._visit(target, attribute)

    def _need(self, module: str, other: str) -> None:
        if other not in (needs := self._needs.setdefault(module, [])):
            needs.append(other)

    def _ordered(self) -> list[str]:
        """Returns the modules in topological order."""
        done: list[str] = []

        def add(module: str) -> None:
            for other in self._needs.get(module, ()):
                if other not in done:
                    add(other)
            if module not in done:
                done.append(module)

        for module in [*self._used]:
            add(module)
        return [module for module in done if self._used.get(module)]

    def _nodes(self, module: str) -> list[ast.stmt]:
        definitions = self._modules[module].definitions
        nodes = {id(definitions[name]): definitions[name] for name in self._used[module]}
        return sorted(nodes.values(), key=lambda node: node.lineno)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the parent is not a package
        return False


def _is_installed(statement: str) -> bool:
    return statement.split()[1].partition(".")[0] not in sys.stdlib_module_names


def _joined(parts: Iterable[str]) -> str:
    """Joins the parts with two empty lines around functions and classes, none between assignments."""
    text, before = "", "block"
    for part in parts:
        is_block = any(line.startswith(("def ", "class ", "@", "# ---- ")) for line in part.splitlines())
        text += ("\n\n\n" if is_block or before == "block" else "\n") + part
        before = "block" if is_block else "line"
    return text.strip("\n")
