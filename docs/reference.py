"""The generated parts of docs: commands, recipe keys, augmentations, faults, models, functions and result types.

A Sphinx extension. When a page is read, `<!-- generated: NAME -->` is replaced by the Markdown of GENERATORS[NAME], so
that the references follow the source and nothing generated is stored. Descriptions of keys and fields are the comments
in the source: after the field on its line, or on the lines above it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from convoy import api, run_contents, stats
from convoy.cli import main  # noqa: F401 (registers the commands)
from convoy.cli.app import app
from convoy.data.augment_kinds import Affine, Mixer, PixelTransform
from convoy.evaluation.saved import Evaluation
from convoy.experiments.kinds import KINDS
from convoy.experiments.verdicts import JudgedClaim
from convoy.models import MODELS
from convoy.models.entry import ModelEntry, defaults_of
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.recipe.files import builtin_names
from convoy.runs import Run
from convoy.verifying.result import Verification

RESULTS = Path(__file__).parent / "results" / "runs"
MARK = re.compile(r"<!-- generated: (\w+) -->")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], aligned: str = "") -> str:
    """A Markdown table; `aligned` has a character for each column, "r" for numbers."""
    rules = ["---:" if kind == "r" else "---" for kind in aligned.ljust(len(head))]
    lines = [head, rules, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


# ---- commands ----


def commands() -> str:
    """The documentation that cyclopts generates, sorted by command, without contents."""
    text = app.generate_docs(output_format="markdown", heading_level=1)
    text = re.sub(r"`([A-Z_]+), --[^`]*`", r"`\1`", text)  # arguments are shown in --help by place only
    text = text.replace(" **[required]**", " *Required.*")
    return "".join(sorted(re.split(r"^(?=## convoy )", text, flags=re.MULTILINE)[1:]))


# ---- recipe keys ----


@cache
def comments_of(kind: type) -> dict[str, str]:
    """Field or enum member -> the comment after it on its line or in the lines above it; includes base classes."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("convoy."):
            lines = textwrap.dedent(inspect.getsource(base)).splitlines()
            (body,) = (node.body for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.ClassDef))
            for node in body:
                target = node.target if isinstance(node, ast.AnnAssign) else None
                if isinstance(node, ast.Assign) and issubclass(kind, Enum):
                    (target,) = node.targets
                if isinstance(target, ast.Name):
                    found[target.id] = _comment(lines, node.lineno - 1, node.end_lineno or node.lineno)
    return found


def _comment(lines: Sequence[str], first: int, last: int) -> str:
    start = first
    while start and lines[start - 1].strip().startswith("# "):
        start -= 1
    above = [line.strip().removeprefix("# ") for line in lines[start:first]]
    text = " ".join([*above, *(line.partition("  # ")[2] for line in lines[first:last] if "  # " in line)])
    return text[:1].upper() + text[1:]


def type_of(schema: dict[str, Any]) -> str:
    """A JSON schema in words: "integer, at least 1"."""
    if "anyOf" in schema:
        return " or ".join(type_of(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    if schema.get("$ref", "").endswith("/Fault"):
        return "name of a fault"
    if "prefixItems" in schema:
        return f"[{', '.join(map(type_of, schema['prefixItems']))}]"
    if schema.get("type") == "array":
        return f"list: {type_of(schema['items'])}" if schema.get("items") else "list"
    kind = {"object": "table", "string": "text"}.get(schema.get("type", ""), schema.get("type", "any"))
    words = {"at least": ("ge", "minimum"), "above": ("gt", "exclusiveMinimum")}
    words |= {"at most": ("le", "maximum"), "below": ("lt", "exclusiveMaximum")}
    bounds = [f"{word} {schema[key]:,}" for word, keys in words.items() for key in keys if key in schema]
    return ", ".join([kind, *(bound for bound in bounds if bound != f"below {2**63:,}")])


def _keys(kind: type[BaseModel]) -> str:
    """The table of a section; sections within it have their own."""
    properties = kind.model_json_schema()["properties"]
    rows = []
    for key, schema in properties.items():
        default = schema.get("default")
        if "$ref" not in schema and "discriminator" not in schema and not (key == "name" and "const" in schema):
            shown = "" if default is None else f"`{json.dumps(default)}`"
            rows.append((f"`{key}`", comments_of(kind)[key], type_of(schema), shown))
    return table(("key", "meaning", "type", "default"), rows) if rows else ""


def _sections(kind: type[BaseModel], path: str = "") -> Iterator[tuple[str, list[type[BaseModel]]]]:
    """The path of each section, with its model; several, if a `name` in it selects one."""
    yield path, [kind]
    for key, field in kind.model_fields.items():
        union = isinstance(field.annotation, UnionType) or "Union" in str(get_origin(field.annotation))
        kinds = [*(get_args(field.annotation) if union else [field.annotation])]
        below = f"{path}.{key}".lstrip(".")
        if len(kinds) == 1 and inspect.isclass(kinds[0]) and issubclass(kinds[0], BaseModel):
            yield from _sections(kinds[0], below)
        elif all(inspect.isclass(each) and issubclass(each, BaseModel) for each in kinds):
            yield below, kinds


def recipe_keys() -> str:
    parts = []
    for path, kinds in _sections(Recipe):
        parts.append(f"## {f'[{path}]' if path else 'Top level'}\n")
        for kind in kinds:
            if len(kinds) > 1:
                default = " (the default)" if kind is type(_at(path)) else ""
                parts.append(f'### {path}.name = "{kind.model_fields["name"].default}"{default}\n')
            parts += [f"{prose_of(kind)}\n", _keys(kind)]
    return "\n".join(parts)


def _at(path: str) -> Any:
    value: Any = Recipe()
    for key in path.split("."):
        value = getattr(value, key)
    return value


def augmentations() -> str:
    from convoy.data.augment import AUGMENTATIONS

    kinds = [(name, AUGMENTATIONS[name]) for name in AUGMENTATIONS]
    return "\n".join(f'### name = "{name}"\n\n{prose_of(kind)}\n\n{_keys(kind)}' for name, kind in kinds)


def _augmentation_table(base: type) -> str:
    """The augmentations of one base class, with their docstrings."""
    from convoy.data.augment import AUGMENTATIONS

    kinds = {name: AUGMENTATIONS[name] for name in AUGMENTATIONS}
    rows = [(f"`{name}`", " ".join(prose_of(kind).split())) for name, kind in kinds.items() if issubclass(kind, base)]
    return table(("name", "what it does"), rows)


def faults() -> str:
    """A row per fault: description, comment above it in the source, and experiments whose published recipe has it."""
    lines = textwrap.dedent(inspect.getsource(Fault)).splitlines()
    (body,) = (node.body for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.ClassDef))
    comments = {ast.unparse(node.targets[0]): _comment(lines, node.lineno - 1, node.lineno - 1)
                for node in body if isinstance(node, ast.Assign)}  # fmt: skip
    published: dict[Fault, set[str]] = {fault: set() for fault in Fault}
    for name in builtin_names():
        for fault in Recipe.load(name).protocol.faults:
            published[fault].add(name.partition("/")[0])
    rows = [
        (
            f"`{fault.value}`",
            ". ".join(text[:1].upper() + text[1:] for text in (fault.info.sentence(), comments[fault.name]) if text),
            ", ".join(sorted(published[fault])),
        )
        for fault in Fault
    ]
    return table(("name", "what it does", "in the published recipes of"), rows)


def prose_of(documented: Any) -> str:
    """The docstring of an object of Convoy as Markdown, with URLs as links."""
    text = inspect.cleandoc(vars(documented).get("__doc__") or "")
    if "\n" not in text and text.startswith(f"{documented.__name__.rpartition('.')[2]}("):
        return ""  # a dataclass without a docstring has its signature as one
    text = re.sub(r"(?:arXiv\s|https://arxiv.org/abs/)(\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"(?<!\()https?://[^\s),]*[^\s),.]", r"<\g<0>>", text)


# ---- models ----


def models() -> str:
    families: dict[str, list[ModelEntry]] = {}
    for name in MODELS:
        families.setdefault(MODELS[name].defined_in.partition(".")[0], []).append(MODELS[name])
    scores = measured()
    parts = []
    for family, entries in families.items():
        rows = [(f"`{each.name}`", each.summary, f"{each.parameters:,}", _geometry(each)) for each in entries]
        prose = prose_of(import_module(f"convoy.models.{family}"))
        prose = re.sub(r"\n(?=Papers?: |Source: |Differs from )", "\n\n", prose)
        parts += [f"## {family}\n", f"{prose}\n"]
        parts.append(table(("model", "description", "parameters", "for images of"), rows, "  r"))
        names = {each.name for each in entries}
        if own := [row for name, row in scores if name in names]:
            parts += ["Measured:\n", table(("recipe", "data", "epochs", "test accuracy (%)", "sd", "n"), own, "  rrrr")]
        factories = list(dict.fromkeys(each.factory for each in entries))
        for factory in factories:
            own_entries = [each for each in entries if each.factory is factory]
            names = "" if len(factories) == 1 else f" of {', '.join(f'`{each.name}`' for each in own_entries)}"
            parts.append(_options(own_entries, f"Options{names}:"))
    return "\n".join(parts)


def _geometry(entry: ModelEntry) -> str:
    shape = entry.counted_at
    return f"{shape.in_chans} x {shape.image_size} x {shape.image_size}, {shape.num_classes:,} classes"


def _options(entries: Sequence[ModelEntry], title: str) -> str:
    """The options of one class, with the values of its variants."""
    rows = []
    for option, default in defaults_of(entries[0].factory).items():
        other = [f"`{each.name}`: `{json.dumps(each.presets[option])}`" for each in entries if option in each.presets]
        rows.append((f"`{option}`", f"`{json.dumps(default)}`", ", ".join(other)))
    if not any(entry.presets for entry in entries):
        rows = [row[:2] for row in rows]
    return f"{title}\n\n{table(('option', 'default', 'in variants')[: len(rows[0])], rows)}" if rows else ""


def measured() -> list[tuple[str, tuple[str, ...]]]:
    """Model -> recipe, data, epochs, and the test accuracy of the archived runs of that recipe over their seeds."""
    recipes = {_identity(recipe): name for name in builtin_names() for recipe in [Recipe.load(name)]}
    found: dict[tuple[str, ...], list[float]] = {}
    steps: dict[tuple[str, ...], float] = {}
    for path in sorted(RESULTS.glob("*/recipe.toml")):
        run = Run(path.parent)
        name = recipes.get(_identity(run.recipe))
        if name and (score := run.scores.get("test")):
            limit = run.recipe.data.limit
            data = f"{run.recipe.data.name}, {limit:,} images" if limit else run.recipe.data.name
            group = (run.recipe.model.name, f"`{name}`", data, str(run.recipe.train.epochs))
            found.setdefault(group, []).append(score.accuracy)
            steps[group] = 1 / score.n
    rows = []
    for group, values in sorted(found.items()):
        estimate = stats.t_interval(values, step=steps[group])
        half, sd = estimate.half_width, estimate.sd
        mean = f"{100 * estimate.mean:.2f}" + ("" if half is None else f" ± {100 * half:.2f}")
        rows.append((group[0], (*group[1:], mean, "" if sd is None else f"{100 * sd:.2f}", str(len(values)))))
    return rows


def _identity(recipe: Recipe) -> str:
    """Equal for runs that differ only in seed, scale or precision."""
    same = {"seed": 0, "data.limit": 1, "train.epochs": 100_000, "compute.precision": "auto"}
    return json.dumps(recipe.override(same).canonical(), sort_keys=True)


# ---- the Python interface ----


def functions() -> str:
    found = {name: value for name in api.__all__ if inspect.isfunction(value := getattr(api, name))}
    rows = [(f"[`{name}`](#convoy.{name})", (value.__doc__ or "").partition("\n")[0]) for name, value in found.items()]
    blocks = [f"```{{eval-rst}}\n.. autofunction:: convoy.{name}\n```\n" for name in found]
    return "\n".join([table(("function", "what it does"), rows), *blocks])


def result_types() -> str:
    """The return types of functions, the types of findings, and the types of their fields."""
    roots = [
        getattr(api, name) for name in ("DataSheet", "ExplainResult", "ExportResult", "Prediction", "ProfileResult")
    ]
    roots += [run_contents.Score, run_contents.Cost, run_contents.EpochMetrics, run_contents.RunData]
    roots += [run_contents.Environment, run_contents.Status, Evaluation, JudgedClaim, Verification]
    findings = [import_module(f"{KINDS[name]}.finding") for name in sorted(KINDS)]
    roots += [value for module in findings for name, value in vars(module).items() if name.endswith("Finding")]
    every = {name: value for module in _loaded() for name, value in vars(module).items() if _is_ours(value)}
    waiting, parts = list(dict.fromkeys(roots)), {}
    while waiting:
        kind = waiting.pop(0)
        hints = get_type_hints(kind, localns=ChainMap(vars(sys.modules[kind.__module__]), every))
        inner = [each for hint in hints.values() for each in _types_in(hint)]
        waiting += [each for each in dict.fromkeys(inner) if each not in {*parts, *waiting, Run}]
        parts[kind] = _fields(kind, hints)
    return "\n".join(parts.values())


def _loaded() -> list[ModuleType]:
    """The modules of Convoy, including those that others import only under TYPE_CHECKING."""
    for name in ("data.photo", "datasheet.summary", "explaining.result", "exporting.content", "profiling.result"):
        import_module(f"convoy.{name}")
    return [module for name, module in sys.modules.items() if name.startswith("convoy.")]


def _fields(kind: type, hints: dict[str, Any]) -> str:
    comments = comments_of(kind)
    if issubclass(kind, Enum):
        rows = [(f"`{each.name}`", f"`{json.dumps(each.value)}`", comments.get(each.name, "")) for each in kind]
        return f"## {kind.__name__}\n\n{prose_of(kind)}\n\n{table(('name', 'value', 'meaning'), rows)}"
    rows = [(f"`{name}`", f"`{_type_name(hint)}`", comments.get(name, "")) for name, hint in hints.items()]
    for name, value in vars(kind).items():
        if isinstance(value, property) and name[0] != "_":
            returned = value.fget.__annotations__.get("return", "") if value.fget else ""
            rows.append((f"`{name}`", f"`{_type_name(returned)}`", " ".join((value.__doc__ or "").split())))
    if not any(meaning for *_, meaning in rows):
        rows = [row[:2] for row in rows]
    return f"## {kind.__name__}\n\n{prose_of(kind)}\n\n{table(('field', 'type', 'meaning')[: len(rows[0])], rows)}"


def _type_name(hint: Any) -> str:
    name = hint.__name__ if inspect.isclass(hint) and not get_args(hint) else str(hint)
    name = re.sub(r"typing\.Annotated\[(\w[^,]*), .*", r"\1", name)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", name)


def _is_ours(value: Any) -> bool:
    return inspect.isclass(value) and value.__module__.startswith("convoy.")


def _types_in(hint: Any) -> Iterator[type]:
    if _is_ours(hint):
        yield hint
    for inner in get_args(hint):
        yield from _types_in(inner)


GENERATORS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "recipe_keys": recipe_keys,
    "augmentations": augmentations,
    "geometric_augmentations": lambda: _augmentation_table(Affine),
    "pixel_transforms": lambda: _augmentation_table(PixelTransform),
    "mixers": lambda: _augmentation_table(Mixer),
    "faults": faults,
    "models": models,
    "functions": functions,
    "result_types": result_types,
}


def _fill(_app: Any, _page: str, source: list[str]) -> None:
    source[0] = MARK.sub(lambda mark: GENERATORS[mark[1]](), source[0])


def _outdated(_app: Any, environment: Any, *_: Any) -> list[str]:
    """Generated pages are always rebuilt: Sphinx does not watch their sources."""
    return [page for page in environment.found_docs if MARK.search(Path(environment.doc2path(page)).read_text("utf-8"))]


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True}
