"""A user's own network, "path/to/net.py:MyNet": a class, or a function that returns a network.

The file and its local modules are executed each time they are loaded, so that edits take effect. They are not kept in
`sys.modules` under their names, so that two folders can each have a `layers.py`. Errors are converted to a one-line
ValueError with file and line.
"""

import ast
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from importlib.machinery import ModuleSpec
from itertools import takewhile
from pathlib import Path
from types import FunctionType, ModuleType

import torch
from torch import nn

from convoy.models.entry import Geometry, Option, one_line
from convoy.models.isolation import folder_importable, in_library, removed_modules, restored_settings
from convoy.models.network import error_of_output
from convoy.models.run_code import RunCode, RunCodeImporter
from convoy.registry import is_user_class, missing, unknown
from convoy.text import gettext as _
from convoy.text.lists import joined, listed

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
Factory = type[nn.Module] | FunctionType
_loading: set[Path] = set()


def load_factory(spec: str, code: RunCode | None = None) -> Factory:
    """Loads the class or function "path/to/net.py:MyNet". Raises ValueError: see `create`."""
    path, name = _locate(spec)
    module = _execute(path) if code is None else _execute_run_code(path, code)
    value = vars(module).get(name)
    if value is None:
        raise unknown(_("class or function"), name, _factories(module), str(path))
    if not (_is_network_class(value) or isinstance(value, FunctionType)):
        raise ValueError(_("{path}: expected {name} to be {expected}", path=path, name=name, expected=_expected()))
    return value


def _expected() -> str:
    return _("a subclass of torch.nn.Module or a function that returns a network")


def only_factory(file: str) -> str:
    """Completes "path/to/net.py" to "path/to/net.py:MyNet": the only network class or, without one, the only function.

    Ignores names that begin with an underscore and `main`. Raises ValueError if there are several or none.
    """
    path = _existing(file, file)
    names = _factories(_execute(path))
    if len(names) == 1:
        return f"{file}:{names[0]}"
    if not names:
        raise ValueError(_("{path}: expected {expected}, found none", path=path, expected=_expected()))
    raise ValueError(
        _(
            "{path}: expected one network, found {names}; name one, as in {file}:{last}",
            path=path,
            names=joined(names),
            file=file,
            last=names[-1],
        )
    )


def _factories(module: ModuleType) -> list[str]:
    """Returns the names of the network classes defined in the file or, if there are none, of its functions."""
    own = {
        name: value
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    classes = [name for name, value in own.items() if _is_network_class(value)]
    return classes or [name for name, value in own.items() if isinstance(value, FunctionType) and name != "main"]


def _is_network_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def create(spec: str, geometry: Geometry, options: Mapping[str, Option], code: RunCode | None = None) -> nn.Module:
    """Builds the network and checks it on a batch of two black images. With `code`, imports only its bytes.

    `__init__`, or the function, gets the options, and in_chans, num_classes and image_size if they are in its signature
    (or if it has **kwargs). Raises ValueError if the file is missing or raises; if the class or function is missing or
    not a network; if an option is unknown; if `__init__`, the function or `forward` raises; or if the output is not a
    floating-point tensor [2, num_classes].
    """
    factory = load_factory(spec, code)
    path, name = _locate(spec)
    taken = arguments(f"{path}:{name}", factory, geometry, options)
    module = _build(path, name, factory, taken)
    _check_output(path, factory, module, geometry, taken)
    if not list(module.parameters()):
        raise ValueError(
            _("{location}: {name} has no parameters to train", location=_location(path, factory), name=name)
        )
    if not hasattr(module, "flaws"):
        module.flaws = ()  # type: ignore[assignment]
    return module


def source_files(spec: str) -> list[Path]:
    """Returns the file and the local modules (below its folder) that it imports, recursively.

    Parses the imports without executing code, so modules whose name is computed at run time are not found. Raises
    ValueError if a file has a syntax error.
    """
    path = _locate(spec)[0] if is_user_class(spec) else Path(spec).resolve()
    files = {path}
    pending = [path]
    while pending:
        for imported in _local_imports(pending.pop(), path.parent):
            if imported not in files:
                files.add(imported)
                pending.append(imported)
    return [path, *sorted(files - {path})]


def _locate(spec: str) -> tuple[Path, str]:
    file, _colon, name = spec.rpartition(":")
    if not name.isidentifier():
        raise ValueError(_("model {spec!r}: expected path/to/net.py:MyNet", spec=spec))
    return _existing(file, spec), name


def _existing(file: str, spec: str) -> Path:
    if not Path(file).is_file():
        raise ValueError(_("file {file!r} of model {spec!r} {missing}", file=file, spec=spec, missing=missing(file)))
    return Path(file).resolve()


# ---- executing a file in its own package ----


def _execute(path: Path) -> ModuleType:
    """Executes the file as a submodule of its own package, so that `from .layers import X` works without clashes."""
    name = _own_package(path, [str(path.parent)])
    spec = importlib.util.spec_from_file_location(name, path)
    local_names = {file.relative_to(path.parent).parts[0].removesuffix(".py") for file in source_files(str(path))}
    with removed_modules(local_names), folder_importable(path.parent, last=name.rpartition(".")[0]):
        return _run_module(path, spec)


def _execute_run_code(path: Path, code: RunCode) -> ModuleType:
    """Like `_execute`, but imports only the bytes in `code` and nothing from the run folder."""
    file = path.relative_to(code.folder).as_posix()
    name = _own_package(path, [])
    importer = RunCodeImporter(code, name.rpartition(".")[0])
    importer.install()
    with removed_modules(importer.top_level_names), importer.importing():
        return _run_module(path, importer.entry_spec(name, file))


def _own_package(path: Path, search: list[str]) -> str:
    """Creates an empty package for the file and returns the name of the file's module in it."""
    package = "convoy_user_" + blake2b(str(path).encode(), digest_size=8).hexdigest()
    if package in sys.modules:  # its modules were imported after it; no other name contains a digest
        newest = takewhile(lambda key: key != package, reversed([*sys.modules]))
        for stale in [package, *(key for key in newest if package in key)]:
            del sys.modules[stale]
    sys.modules[package] = ModuleType(package)
    sys.modules[package].__path__ = search
    return f"{package}.{path.stem.replace('.', '_')}"


def _run_module(path: Path, spec: ModuleSpec | None) -> ModuleType:
    if path in _loading:
        raise ValueError(
            _("{path} starts its own training when imported; move that under if __name__ == '__main__':", path=path)
        )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        _loading.add(path)
        # A seed that is set by the file would give the same initial weights for all seeds of a study.
        with restored_settings(), torch.random.fork_rng(devices=[]):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _failure(path, error, str(path)) from None
    finally:
        _loading.discard(path)
    return module


# ---- finding local imports ----


def _local_imports(file: Path, root: Path) -> set[Path]:
    try:
        imports = _imports(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        raise _failure(file, error, str(file)) from None
    files: set[Path] = set()
    for level, parts in imports:
        start = file.parents[level - 1] if 0 < level <= len(file.parents) else root
        files |= _module_files(start, parts)
    return {file for file in files if file.is_relative_to(root)}


@lru_cache(maxsize=64)  # a study builds the network of one file many times
def _imports(source: bytes, file: str) -> list[tuple[int, list[str]]]:
    """The level of each import (0: absolute) and the parts of its dotted name."""
    imports = []
    for node in ast.walk(ast.parse(source, filename=file)):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            imports += [(node.level, [*parts, alias.name]) for alias in node.names]  # may be a module or a name in one
    return imports


def _module_files(folder: Path, parts: list[str]) -> set[Path]:
    """The existing files that importing a.b.c executes: a/__init__.py, a/b/__init__.py and a/b/c.py."""
    files = set()
    for part in parts:
        candidates = (folder / part / "__init__.py", folder / f"{part}.py")
        files.update([*filter(Path.is_file, candidates)][:1])
        folder = folder / part
    return files


# ---- building and checking ----


def arguments(spec: str, factory: Factory, geometry: Geometry, options: Mapping[str, Option]) -> dict[str, Option]:
    # nn.Module.__init__ declares **kwargs but rejects them.
    has_no_init = isinstance(factory, type) and factory.__init__ is nn.Module.__init__
    parameters = () if has_no_init else inspect.signature(factory).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind not in VARIADIC}
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    for option in options:
        if option in Geometry._fields:
            raise ValueError(
                _(
                    "{option} in model.options of {spec}: cannot be set, because it comes from the data",
                    option=option,
                    spec=spec,
                )
            )
        if option not in named and not takes_all:
            raise unknown(_("option"), option, named - set(Geometry._fields), _("model.options of {name}", name=spec))
    return {key: value for key, value in geometry._asdict().items() if takes_all or key in named} | dict(options)


@restored_settings()
def _build(path: Path, name: str, factory: Factory, arguments: Mapping[str, Option]) -> nn.Module:
    method = factory.__init__ if isinstance(factory, type) else factory
    try:
        module = factory(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        prefix = f"{name}.__init__: " if isinstance(factory, type) else f"{name}: "
        raise _failure(path, error, _location(path, method, factory), prefix) from None
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise ValueError(
            _(
                "{location}: expected {name} to return a torch.nn.Module, got {kind}",
                location=_location(path, factory),
                name=name,
                kind=kind,
            )
        )
    return module


@restored_settings()
def _check_output(
    path: Path, factory: Factory, module: nn.Module, geometry: Geometry, taken: Mapping[str, Option]
) -> None:
    location, name = _location(path, type(module).forward, type(module), factory), f"{type(module).__name__}.forward"
    try:
        problem = error_of_output(module, geometry)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        shape = [2, geometry.in_chans, geometry.image_size, geometry.image_size]
        what = _("{name} on images of {shape}", name=name, shape=shape)
        hint = _hint(str(error), geometry, taken)
        raise ValueError(f"{_failure(path, error, location, f'{what}: ')}{hint}") from None
    if problem:
        raise ValueError(f"{location}: {name}: {problem}")


def _hint(error: str, geometry: Geometry, taken: Mapping[str, Option]) -> str:
    """Names the missing arguments if the network expects another number of channels or pixels."""
    by_error = {"channels": ("in_chans",), "mat1 and mat2": ("in_chans", "image_size")}
    names = next((names for words, names in by_error.items() if words in error), ())
    here = geometry._asdict()
    absent = [_("{name} (here {value})", name=name, value=here[name]) for name in names if name not in taken]
    if not absent:
        return ""
    return _("; for images of any shape, let the network take {arguments}", arguments=listed(absent))


def failed_in(spec: str, error: BaseException) -> bool:
    """Whether an error comes from the user's code."""
    return bool(_user_locations(_locate(spec)[0], error))


def failure(spec: str, error: BaseException, *, in_profile: bool = False) -> ValueError:
    """Converts an error of a user's network to a one-line ValueError with file and line."""
    path, name = _locate(spec)
    what = _("{name} in a profile", name=name) if in_profile else _("{name} in training", name=name)
    return _failure(path, error, str(path), f"{what}: ")


def _failure(path: Path, error: BaseException, location: str, prefix: str = "") -> ValueError:
    """Formats one line: the innermost location in the user's folder (by default `location`), then the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return ValueError(f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}")
    location = next(reversed(_user_locations(path, error)), location)
    return ValueError(f"{location}: {prefix}{one_line(error)}")


def _user_locations(path: Path, error: BaseException) -> list[str]:
    """The "net.py:12" of each frame in the user's folder, innermost last."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    return [f"{file}:{line}" for file, line in frames if file.is_relative_to(path.parent) and not in_library(file)]


def _location(path: Path, *definitions: object) -> str:
    """The "net.py:12" of the first of these functions and classes that is not in a library."""
    for definition in definitions:
        if (code := getattr(definition, "__code__", None)) is not None:
            file, line = code.co_filename, code.co_firstlineno
        else:
            try:
                file, line = inspect.getsourcefile(definition), inspect.getsourcelines(definition)[1]  # type: ignore[arg-type]
            except (OSError, TypeError):
                continue
        if not in_library(Path(file)):
            return f"{file}:{line}"
    return str(path)
