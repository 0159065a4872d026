"""The import table of the package, and tests that its checks can fail.

An import counts wherever it is: at the top of a module, in a function, under TYPE_CHECKING, through importlib, and
as the text "convoy.module" or "convoy.module:name" that something else imports later.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "convoy"

# Who may import whom. A layer is a file or a folder directly under the package; within it, imports are free.
BASE = {
    "registry",
    "options",
    "randomness",
    "process",
    "cpu",
    "files",
    "recipe",
    "run_contents",
    "run_files",
    "runs",
    "events",
    "counts",
    "stats",
    "prediction",
    "chance",
    "text",
}
LEARNING = BASE | {"models", "data", "checkpoint", "evaluation"}
ALLOWED: dict[str, set[str]] = {
    "registry": set(),
    "options": {"registry"},
    "randomness": set(),
    "process": set(),
    "cpu": set(),
    "files": set(),
    "recipe": {"registry", "text"},
    "stats": {"text"},
    "text": set(),
    "chance": {"run_contents", "stats", "text"},
    "prediction": {"stats"},
    "run_files": {"files"},
    "run_contents": {"files"},
    "runs": {"files", "run_contents", "run_files", "recipe", "stats", "registry", "options"},
    "counts": {"run_contents", "runs", "text"},
    "events": {"run_contents"},
    "archive": {"files", "run_files", "runs", "recipe", "registry"},
    "models": {"registry"},
    "data": {"registry", "recipe", "randomness", "process", "files", "text"},
    "checkpoint": {"files"},
    "evaluation": {
        "run_contents",
        "registry",
        "models",
        "data",
        "checkpoint",
        "recipe",
        "runs",
        "counts",
        "stats",
        "randomness",
    },
    "datasheet": {"options", "data", "files", "reporting", "text"},
    "profiling": {
        "options",
        "registry",
        "recipe",
        "models",
        "data",
        "evaluation",
        "files",
        "reporting",
        "run_contents",
        "text",
    },
    "exporting": {"runs", "files", "checkpoint", "registry"},
    "training": LEARNING,
    "studies": LEARNING | {"training", "archive", "reporting"},
    "experiments": LEARNING | {"profiling", "training", "archive", "reporting", "studies"},
    "reporting": {"files", "run_contents", "runs", "counts", "stats", "prediction", "chance", "recipe", "text"},
    "lab": {
        "registry",
        "recipe",
        "models",
        "data",
        "evaluation",
        "profiling",
        "reporting",
        "runs",
        "text",
    },
    "progress": {"events", "text"},
    "api": LEARNING
    | {
        "profiling",
        "datasheet",
        "training",
        "studies",
        "experiments",
        "reporting",
        "lab",
        "progress",
        "exporting",
        "options",
    },
    "cli": LEARNING
    | {
        "profiling",
        "datasheet",
        "training",
        "studies",
        "experiments",
        "reporting",
        "progress",
        "api",
        "options",
        "__init__",
    },
    "__init__": {"api", "recipe", "runs", "process"},
}
NEAR_TORCH = ("run", "surface", "command", "__init__")  # of a kind of study; command.py imports run.py when called
WITHOUT_TORCH = (*sorted(BASE), "archive", "reporting", "progress")


class Import(NamedTuple):
    module: str  # who imports
    line: int
    target: str  # what is imported: a module's dotted name, perhaps with a name in it behind


def modules(package: Path) -> dict[str, Path]:
    """Dotted name to file of every module of a package; a package has its own name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path, package: str) -> Iterator[Import]:
    parent = module if path.name == "__init__.py" else module.rpartition(".")[0]
    text_of_module = re.compile(rf"{package}(\.\w+)+(:\w+)?")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), parent)
            targets = [f"{source}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
            targets = [importlib.util.resolve_name(name, parent)] if str(name).startswith(".") else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            targets = [node.value.partition(":")[0]] if text_of_module.fullmatch(node.value) else []
        for target in targets:
            yield Import(module, node.lineno, target)


def all_imports(package: Path) -> list[Import]:
    return [found for name, path in modules(package).items() for found in imports(name, path, package.name)]


def layer(target: str, package: Path) -> str:
    """The layer of a dotted name; a name that is not a file or folder is defined in the package's __init__.

    The public function of a kind of study belongs to the api, although it is in the kind's folder.
    """
    if re.match(rf"{package.name}\.studies\.\w+\.command\b", target):
        return "api"
    name = target.split(".")[1] if "." in target else "__init__"
    exists = (package / f"{name}.py").is_file() or (package / name / "__init__.py").is_file()
    return name if exists else "__init__"


def without_row(package: Path, allowed: Mapping[str, set[str]]) -> list[str]:
    """The modules that have no row in the table."""
    return [name for name in modules(package) if layer(name, package) not in allowed]


def forbidden_imports(package: Path, allowed: Mapping[str, set[str]]) -> list[Import]:
    """The imports against the table."""
    reports = []
    for found in all_imports(package):
        if found.target.partition(".")[0] != package.name:
            continue
        importer, imported = layer(found.module, package), layer(found.target, package)
        if importer != imported and imported not in allowed.get(importer, set()):
            reports.append(found)
    return reports


def ways_to_torch(package: Path, layers: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The chains of imports by which a module of these layers reaches torch, each as (module, ..., "torch").

    The root package is left out of the chains: it loads its names when they are asked for, which the tests of what a
    fresh interpreter has loaded hold.
    """
    files = modules(package)
    edges: dict[str, set[str]] = {name: set() for name in files}
    for module, _, target in all_imports(package):
        parts = target.split(".")
        prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        edges[module] |= {"torch"} if parts[0] == "torch" or target.startswith("safetensors.torch") else set()
        edges[module] |= (prefixes & files.keys()) - {package.name, module}

    def chain(module: str, seen: frozenset[str]) -> tuple[str, ...]:
        if "torch" in edges[module]:
            return (module, "torch")
        ends = (chain(name, seen | {name}) for name in sorted(edges[module] - seen))
        return next(((module, *end) for end in ends if end), ())

    starts = [name for name in files if name != package.name and layer(name, package) in layers]
    return [found for start in starts if (found := chain(start, frozenset({start})))]


def write_package(root: Path, files: Mapping[str, str]) -> Path:
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root / "pkg"


def near_torch(folder: str) -> set[str]:
    """The modules of a layer that reach torch, named relative to it."""
    return {way[0].removeprefix(f"convoy.{folder}.") for way in ways_to_torch(PACKAGE, (folder,))}


def test_every_import_goes_the_way_of_the_table() -> None:
    assert without_row(PACKAGE, ALLOWED) == []
    assert forbidden_imports(PACKAGE, ALLOWED) == []


def test_base_layers_and_reporting_never_reach_torch() -> None:
    assert ways_to_torch(PACKAGE, WITHOUT_TORCH) == []


def test_the_parts_of_training_import_downwards() -> None:
    """The step and the machine know neither each other nor the run; the run uses both."""
    start = "convoy.training."
    parts = [
        (found.module.removeprefix(start).partition(".")[0], found.target.removeprefix(start).partition(".")[0])
        for found in all_imports(PACKAGE)
        if found.module.startswith(start) and found.target.startswith(start)
    ]

    assert {pair for pair in parts if pair[0] != pair[1]} == {("run", "step"), ("run", "machine")}


def test_of_a_study_only_its_run_reaches_torch() -> None:
    """By role of a file: a report is written and a finding read without torch. Only run.py imports surface.py."""
    reached = near_torch("studies")
    parts = [path for path in PACKAGE.glob("studies/*/*.py") if path.stem not in NEAR_TORCH]
    names = [f"{path.parent.name}.{path.stem}" for path in parts]

    assert names
    assert "seeds.run" in reached
    assert reached.isdisjoint([*names, "kinds", "findings"])


@pytest.mark.parametrize("package", ["profiling", "datasheet"])
def test_of_a_description_only_measure_reaches_torch(package: str) -> None:
    assert near_torch(package) == {"measure"}


def test_of_the_experiments_findings_and_pages_never_reach_torch() -> None:
    reached, folder = near_torch("experiments"), PACKAGE / "experiments"
    files = [path for path in folder.rglob("*.py") if re.match("finding|words|figures|page", path.stem)]
    names = [".".join(path.relative_to(folder).with_suffix("").parts) for path in files]

    assert len(names) > 8
    assert "reproduction.run" in reached
    assert reached.isdisjoint([*names, "kinds"])


@pytest.mark.parametrize("layers", [("__init__",), ("cli",), WITHOUT_TORCH], ids=["convoy", "cli", "without torch"])
def test_importing_it_in_a_fresh_interpreter_does_not_load_torch(layers: tuple[str, ...]) -> None:
    names = [name for name in modules(PACKAGE) if layer(name, PACKAGE) in layers]
    code = f"import {', '.join(names)}, sys; print('torch' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (answer.stdout, answer.stderr) == ("False\n", "")


def test_a_module_taken_from_the_root_does_not_load_the_api() -> None:
    """The root's public names are looked up in the api, but not those of modules."""
    code = "import convoy, sys; from convoy import runs; print('convoy.api' in sys.modules, callable(convoy.search))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (answer.stdout, answer.stderr) == ("False True\n", "")


@pytest.mark.parametrize(
    "line",
    [
        "import pkg.cli",
        "from pkg import cli",
        "from pkg.cli import main",
        "from . import cli",
        "from .cli import main",
        "def late():\n    from pkg import cli",
        "import importlib\nimportlib.import_module('pkg.cli')",
        "import importlib\nimportlib.import_module('.cli', __package__)",
        "COMMANDS = {'train': 'pkg.cli:main'}",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pkg.cli",
    ],
)
def test_a_forbidden_import_is_reported_in_each_form(tmp_path: Path, line: str) -> None:
    package = write_package(tmp_path, {"pkg/__init__.py": "", "pkg/cli.py": "", "pkg/stats.py": line})

    (report,) = forbidden_imports(package, {"__init__": set(), "stats": set(), "cli": {"stats"}})

    assert (report.module, layer(report.target, package)) == ("pkg.stats", "cli")


def test_an_allowed_import_and_one_within_a_layer_are_not_reported(tmp_path: Path) -> None:
    sources = {"pkg/__init__.py": "", "pkg/stats.py": "", "pkg/data/__init__.py": "", "pkg/data/formats.py": ""}
    sources["pkg/data/sources.py"] = "import numpy\nfrom pkg import stats\nfrom pkg.data import formats\n"
    package = write_package(tmp_path, sources)

    assert forbidden_imports(package, {"__init__": set(), "stats": set(), "data": {"stats"}}) == []


def test_a_module_without_a_row_is_reported(tmp_path: Path) -> None:
    package = write_package(tmp_path, {"pkg/__init__.py": "", "pkg/extra.py": ""})

    assert without_row(package, {"__init__": set()}) == ["pkg.extra"]


def test_a_public_name_taken_from_the_root_counts_as_an_import_of_the_root(tmp_path: Path) -> None:
    package = write_package(tmp_path, {"pkg/__init__.py": "train = 1", "pkg/stats.py": "from pkg import train"})

    (report,) = forbidden_imports(package, {"__init__": set(), "stats": set()})

    assert (report, layer(report.target, package)) == (Import("pkg.stats", 1, "pkg.train"), "__init__")


def test_torch_behind_another_module_and_a_function_is_found(tmp_path: Path) -> None:
    sources = {"pkg/__init__.py": "import torch", "pkg/stats.py": "", "pkg/loop.py": "def run():\n    import torch.nn"}
    sources["pkg/reporting/__init__.py"] = ""
    sources["pkg/reporting/page.py"] = "from pkg.loop import run"
    package = write_package(tmp_path, sources)

    assert ways_to_torch(package, ("reporting", "stats")) == [("pkg.reporting.page", "pkg.loop", "torch")]
