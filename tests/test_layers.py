"""The table of allowed imports within the package, its checks, and tests of these checks.

All imports count: at the top of a module, in a function, under TYPE_CHECKING, through importlib, and as a string such
as "convoy.module" or "convoy.module:name" that is imported later.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from convoy.tracking import TRACKERS

PACKAGE = Path(__file__).parents[1] / "src" / "convoy"

# The layers that a layer may import. A layer is a file or folder directly in the package; within it, all imports are
# allowed.
BASE = {
    "notebook",
    "registry",
    "options",
    "randomness",
    "process",
    "cpu",
    "files",
    "recipe",
    "run_contents",
    "run_files",
    "run_folder",
    "runs",
    "events",
    "counts",
    "record",
    "stats",
    "agreement",
    "power",
    "chance",
    "text",
}
LEARNING = BASE | {"models", "data", "checkpoint", "evaluation"}
INTERFACE = LEARNING | {
    "diagnosing",
    "exploring",
    "explaining",
    "profiling",
    "datasheet",
    "verifying",
    "training",
    "studies",
    "experiments",
    "reporting",
    "progress",
    "options",
}
ALLOWED: dict[str, set[str]] = {
    "notebook": set(),
    "registry": {"text"},
    "options": {"registry", "text"},
    "randomness": set(),
    "process": set(),
    "cpu": set(),
    "files": {"text"},
    "recipe": {"notebook", "registry", "text"},
    "stats": {"text"},
    "text": set(),
    "chance": {"run_contents", "stats", "text"},
    "agreement": {"stats", "text"},
    "power": {"stats", "text"},
    "run_files": {"files", "text"},
    "run_contents": {"files", "text"},
    "run_folder": {"counts", "files", "notebook", "recipe", "run_contents", "run_files", "text"},
    "runs": {"files", "notebook", "options", "recipe", "run_contents", "run_files", "run_folder", "text"},
    "counts": {"recipe", "run_contents", "run_files"},
    "record": {"counts", "recipe", "run_contents", "run_files", "runs", "text"},
    "events": {"run_contents"},
    "archive": {"files", "run_contents", "run_files", "runs", "recipe", "registry", "text"},
    "models": {"registry", "text"},
    "data": {"registry", "recipe", "randomness", "process", "files", "text"},
    "checkpoint": {"files", "text"},
    "evaluation": {
        "files",
        "text",
        "run_files",
        "run_contents",
        "registry",
        "models",
        "data",
        "checkpoint",
        "recipe",
        "record",
        "runs",
        "counts",
        "stats",
        "randomness",
    },
    "datasheet": {"notebook", "options", "data", "files", "reporting", "text"},
    "profiling": {
        "notebook",
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
    "explaining": {
        "notebook",
        "options",
        "registry",
        "data",
        "evaluation",
        "exploring",
        "files",
        "reporting",
        "run_contents",
        "runs",
        "text",
    },
    "exploring": {
        "options",
        "exporting",
        "checkpoint",
        "data",
        "evaluation",
        "files",
        "reporting",
        "run_contents",
        "runs",
        "stats",
        "text",
    },
    "tracking": {
        "process",
        "archive",
        "events",
        "recipe",
        "registry",
        "reporting",
        "run_contents",
        "runs",
        "stats",
        "text",
    },
    "exporting": {
        "archive",
        "run_files",
        "tracking",
        "runs",
        "files",
        "checkpoint",
        "registry",
        "models",
        "data",
        "evaluation",
        "reporting",
        "text",
    },
    "diagnosing": LEARNING,
    "training": LEARNING | {"diagnosing"},
    "studies": LEARNING | {"training", "archive", "reporting"},
    "experiments": LEARNING | {"profiling", "training", "archive", "reporting", "studies"},
    "reporting": {
        "process",
        "files",
        "run_contents",
        "runs",
        "record",
        "run_files",
        "stats",
        "agreement",
        "chance",
        "evaluation",
        "registry",
        "recipe",
        "text",
    },
    "lab": {
        "run_contents",
        "registry",
        "recipe",
        "models",
        "data",
        "evaluation",
        "profiling",
        "reporting",
        "runs",
        "text",
        "training",
    },
    "verifying": LEARNING | {"training", "archive", "studies"},
    "progress": {"events", "text"},
    "api": INTERFACE | {"lab", "exporting", "tracking"},
    "cli": INTERFACE | {"api", "__init__"},
    "__main__": {"cli"},
    "__init__": {"api", "notebook", "recipe", "runs", "process"},
}
WITH_LIBRARY = [f"convoy.tracking.{name}" for name in TRACKERS]  # modules that import a library of an extra
NEAR_TORCH = ("run", "surface", "command", "__init__")  # of a kind of study; command.py imports run.py when called
WITHOUT_TORCH = (*sorted(BASE), "archive", "reporting", "progress", "tracking")


class Import(NamedTuple):
    module: str  # the importing module
    line: int
    target: str  # dotted name of the imported module, or of a name in it


def modules(package: Path) -> dict[str, Path]:
    """The files of a package by dotted module name."""
    files = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


@cache  # several tests read the imports of the package
def imports(module: str, path: Path, package: str) -> list[Import]:
    parent = module if path.name == "__init__.py" else module.rpartition(".")[0]
    module_name = re.compile(rf"{package}(\.\w+)+(:\w+)?")
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), parent)
            targets = [f"{source}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and "import_module" in vars(node.func).values():
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
            targets = [importlib.util.resolve_name(name, parent)] if str(name).startswith(".") else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            targets = [node.value.partition(":")[0]] if module_name.fullmatch(node.value) else []
        found += [Import(module, node.lineno, target) for target in targets]
    return found


def all_imports(package: Path) -> list[Import]:
    return [one for name, path in modules(package).items() for one in imports(name, path, package.name)]


@cache
def layer(target: str, package: Path) -> str:
    """The layer of a dotted name; a name that is not a file or folder belongs to the package's __init__.

    The public function of a kind of study belongs to the api, although it is in the folder of the kind.
    """
    if re.match(rf"{package.name}\.studies\.\w+\.command\b", target):
        return "api"
    name = target.split(".")[1] if "." in target else "__init__"
    exists = (package / f"{name}.py").is_file() or (package / name / "__init__.py").is_file()
    return name if exists else "__init__"


def without_row(package: Path, allowed: Mapping[str, set[str]]) -> list[str]:
    """The modules that are missing in the table."""
    return [name for name in modules(package) if layer(name, package) not in allowed]


def forbidden_imports(package: Path, allowed: Mapping[str, set[str]]) -> list[Import]:
    """The imports that the table does not allow."""
    forbidden = []
    for one in all_imports(package):
        if one.target.partition(".")[0] != package.name:
            continue
        importer, imported = layer(one.module, package), layer(one.target, package)
        if importer != imported and imported not in allowed.get(importer, set()):
            forbidden.append(one)
    return forbidden


@cache  # of this package, several layers are checked
def paths_to_torch(package: Path) -> dict[str, str]:
    """For each module that imports torch directly or indirectly: the next module on a shortest path, or "torch".

    Paths do not include the root package, which imports its names lazily; the test with a new interpreter checks it.
    """
    files = modules(package)
    following: dict[str, str] = {}
    importers: dict[str, set[str]] = {name: set() for name in files}
    for module, _, target in all_imports(package):
        parts = target.split(".")
        prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        if parts[0] == "torch" or target.startswith("safetensors.torch"):
            following[module] = "torch"
        for name in (prefixes & files.keys()) - {package.name, module}:
            importers[name].add(module)
    found = sorted(following)
    for name in found:  # it grows: breadth first
        new = sorted(importers[name] - following.keys())
        following.update(dict.fromkeys(new, name))
        found += new
    return following


def torch_chains(package: Path, layers: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The chains of imports from a module of these layers to torch, each as (module, ..., "torch")."""
    following = paths_to_torch(package)

    def chain(name: str) -> tuple[str, ...]:
        return (name, *chain(following[name])) if name in following else (name,)

    return [chain(name) for name in sorted(following) if name != package.name and layer(name, package) in layers]


def write_package(root: Path, files: Mapping[str, str]) -> Path:
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root / "pkg"


def near_torch(folder: str) -> set[str]:
    """The modules of a layer that import torch directly or indirectly, named relative to the layer."""
    return {chain[0].removeprefix(f"convoy.{folder}.") for chain in torch_chains(PACKAGE, (folder,))}


def test_the_layout_in_the_architecture_names_each_part_and_existing_modules() -> None:
    text = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    layout = text[text.index("## Layout") : text.index("Next to the package")]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in layout.splitlines() if line.startswith("| `")
    ]
    parts = {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    starts = {row[0].strip("`") + name for row in rows for name in re.findall(r"`([^`]+)`", "".join(row[2:]))}

    assert parts == {path.name + "/" * path.is_dir() for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(starts) >= 20
    assert {name for name in starts if not (PACKAGE / name).exists()} == set()


def test_the_table_allows_every_import() -> None:
    assert without_row(PACKAGE, ALLOWED) == []
    assert forbidden_imports(PACKAGE, ALLOWED) == []


def test_base_layers_and_reporting_do_not_import_torch() -> None:
    assert torch_chains(PACKAGE, WITHOUT_TORCH) == []


def test_in_training_only_run_imports_step_and_machine() -> None:
    start = "convoy.training."
    parts = [
        (one.module.removeprefix(start).partition(".")[0], one.target.removeprefix(start).partition(".")[0])
        for one in all_imports(PACKAGE)
        if one.module.startswith(start) and one.target.startswith(start)
    ]

    assert {pair for pair in parts if pair[0] != pair[1]} == {("run", "step"), ("run", "machine")}


def test_in_a_kind_of_study_only_its_run_imports_torch() -> None:
    """Reading a finding and writing a report need no torch. Only run.py imports surface.py."""
    reached = near_torch("studies")
    parts = [path for path in PACKAGE.glob("studies/*/*.py") if path.stem not in NEAR_TORCH]
    names = [f"{path.parent.name}.{path.stem}" for path in parts]

    assert names
    assert "seeds.run" in reached
    assert reached.isdisjoint([*names, "kinds", "findings"])


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("profiling", {"measure"}),
        ("datasheet", {"measure"}),
        ("exploring", {"handlers", "recorder", "trace", "run"}),
        ("explaining", {"attribution", "layers", "run"}),
    ],
)
def test_in_a_package_of_pages_only_these_modules_import_torch(package: str, names: set[str]) -> None:
    assert near_torch(package) == names


def test_findings_and_pages_of_experiments_do_not_import_torch() -> None:
    reached, folder = near_torch("experiments"), PACKAGE / "experiments"
    files = [path for path in folder.rglob("*.py") if re.match("finding|words|figures|page", path.stem)]
    names = [".".join(path.relative_to(folder).with_suffix("").parts) for path in files]

    assert len(names) > 8
    assert "reproduction.run" in reached
    assert reached.isdisjoint([*names, "kinds"])


def test_importing_in_a_new_interpreter_does_not_load_torch() -> None:
    """Public names of the root are looked up in the api, names of modules are not."""
    code = ["import sys, convoy", "from convoy import runs"]
    code += ["print('torch' in sys.modules, 'convoy.api' in sys.modules, callable(convoy.search))"]
    for layers in (("cli",), WITHOUT_TORCH):
        names = [name for name in modules(PACKAGE) if layer(name, PACKAGE) in layers and name not in WITH_LIBRARY]
        names.append("convoy.experiments.reproduction.archived")  # and its report are made without torch
        code += [f"import {', '.join(names)}", "print('torch' in sys.modules)"]

    process = subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, check=False)

    assert (process.stdout.split("\n"), process.stderr) == (["False False True", "False", "False", ""], "")


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


def test_a_public_name_imported_from_the_root_is_an_import_of_the_root(tmp_path: Path) -> None:
    package = write_package(tmp_path, {"pkg/__init__.py": "train = 1", "pkg/stats.py": "from pkg import train"})

    (report,) = forbidden_imports(package, {"__init__": set(), "stats": set()})

    assert (report, layer(report.target, package)) == (Import("pkg.stats", 1, "pkg.train"), "__init__")


def test_indirect_imports_of_torch_are_found(tmp_path: Path) -> None:
    sources = {"pkg/__init__.py": "import torch", "pkg/stats.py": "", "pkg/loop.py": "def run():\n    import torch.nn"}
    sources["pkg/reporting/__init__.py"] = ""
    sources["pkg/reporting/page.py"] = "from pkg.loop import run"
    package = write_package(tmp_path, sources)

    assert torch_chains(package, ("reporting", "stats")) == [("pkg.reporting.page", "pkg.loop", "torch")]
