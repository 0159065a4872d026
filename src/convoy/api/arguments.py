"""Resolves the arguments of the public functions: recipes, overrides, labels, runs and weights files."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convoy.models import MODELS
from convoy.options import DEFAULT_OUT, KEYS, full_key
from convoy.recipe import Recipe, few_images, resolve
from convoy.recipe.files import Override, apply, builtin_names, check_once, read_chain
from convoy.recipe.files import full_name as full_name_of_recipe
from convoy.registry import HUB, is_external, is_user_class, labels_of, unknown
from convoy.runs import Run, Study, Workspace
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import joined, listed

if TYPE_CHECKING:
    from convoy.data.imageset import DataSet

Target = TypeVar("Target", bound=Run | Study)

MARKERS: dict[type[Run] | type[Study], str] = {Run: "recipe.toml", Study: "study.toml"}
WEIGHTS = (".safetensors", ".pth", ".pt")
MAX_CANDIDATES = 5  # listed in a message about an ambiguous name


class AmbiguousNameError(ValueError):
    """A name that matches several runs and studies, newest first."""

    def __init__(self, argument: str, fitting: Sequence[Run | Study], workspace: Path) -> None:
        self.newest, self.count = fitting[0], len(fitting)
        more = len(fitting) - MAX_CANDIDATES
        self.candidates = [*map(_described, fitting[:MAX_CANDIDATES]), *([_("{n} more", n=more)] if more > 0 else [])]
        names = joined(self.candidates)
        super().__init__(
            _(
                "{argument!r} matches {n} runs and studies in {workspace}, newest first: {names}",
                argument=argument,
                n=len(fitting),
                workspace=workspace,
                names=names,
            )
        )


def _described(candidate: Run | Study) -> str:
    """Returns the name with data, epochs and date: "lenet-s42-2e5fe64daeda (mnist, 5 epochs, 2026-11-29 12:01)"."""
    facts = [date_of(candidate)]
    try:
        if isinstance(candidate, Run):
            epochs = candidate.recipe.train.epochs
            facts = [data_of(candidate), ngettext("{n:,} epoch", "{n:,} epochs", epochs), *facts]
        else:
            facts = [*filter(None, [candidate.contents.kind]), *facts]
    except ValueError:  # a damaged folder has only a date
        pass
    return _("{name} ({facts})", name=candidate.name, facts=joined(facts))


def data_of(run: Run) -> str:
    """Returns the short name of the run's data: "mnist" for "mnist=PATH", the folder's name for a path."""
    name = run.recipe.data.name
    return Path(name.partition("=")[0]).name or name


def date_of(candidate: Run | Study) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(_changed(candidate)))


def newest(find: Callable[[str, str | Path], Target], argument: Target | str | Path, out: str | Path) -> Target:
    """Returns the result of `find`. If several runs and studies match, returns the newest and prints up to five."""
    if isinstance(argument, Run | Study):
        return argument
    try:
        return find(str(argument), out)
    except AmbiguousNameError as error:
        note = _(
            "{name} matches {count} runs and studies; using the newest, listed first. To select another, "
            "give a longer part of its name",
            name=argument,
            count=error.count,
        )
        print(note, *error.candidates, sep="\n  ", file=sys.stderr)
        return find(str(error.newest.path), out)


def locate(argument: str | Path, out: str | Path = DEFAULT_OUT, kind: type[Run] | None = None) -> Run | Study:
    """Finds a run or study by its path, or in OUT by its name or a unique part of the name.

    A part consists of one or more of the name's words, which are separated by hyphens. The last word of a run's name,
    its fingerprint, may be abbreviated. If both a run and a study match, `kind` is preferred.
    Raises ValueError without a match, AmbiguousNameError for several.
    """
    if str(argument).startswith(HUB):
        from convoy.exporting import hub

        return hub.find(str(argument))
    path = Path(argument)
    for kind_of_target, marker in MARKERS.items():
        if (path / marker).is_file():
            return kind_of_target(path)
    workspace = Workspace(out)
    candidates: list[Run | Study] = [*workspace.runs(), *workspace.studies()]
    exact = [candidate for candidate in candidates if candidate.name == str(argument)]
    fitting = exact or [candidate for candidate in candidates if _is_part(str(argument), candidate)]
    if kind is not None:
        fitting = [candidate for candidate in fitting if isinstance(candidate, kind)] or fitting
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        hint = _close_names(str(argument), candidates)
        raise ValueError(
            _(
                "no run or study {argument!r}, neither at this path nor in {path}{hint}",
                argument=str(argument),
                path=workspace.path,
                hint=hint,
            )
        )
    raise AmbiguousNameError(str(argument), sorted(fitting, key=_changed, reverse=True), workspace.path)


def _close_names(argument: str, candidates: Sequence[Run | Study]) -> str:
    """Returns "; did you mean ...?" with the closest names or their beginnings, as `locate` accepts them."""
    names = [candidate.name for candidate in candidates]
    beginnings = {name.rsplit("-", cut)[0] for name in names for cut in (0, 1, 2)}
    close = get_close_matches(Path(argument).name, sorted(beginnings), n=2, cutoff=0.6)
    if close:
        return _("; did you mean {names}?", names=listed(map(repr, close), "or"))
    return _("; to list them: convoy list runs, convoy list studies") if names else ""


def _changed(candidate: Run | Study) -> float:
    """Returns the time at which a run finished, if recorded; otherwise the time of the last write."""
    if isinstance(candidate, Run):
        with suppress(OSError, ValueError):  # damaged
            if finished_at := candidate.status.finished_at:
                return time.mktime(time.strptime(finished_at, "%Y-%m-%d %H:%M:%S"))
    path = candidate.path / ("status.json" if isinstance(candidate, Run) else MARKERS[Study])
    return path.stat().st_mtime if path.is_file() else 0.0


def _is_part(text: str, candidate: Run | Study) -> bool:
    end = "-|[0-9a-f]*$" if isinstance(candidate, Run) else "-|$"
    return re.search(f"(^|-){re.escape(text)}({end})", candidate.name) is not None


def recipe_of(recipe: Recipe | str | Path | None, options: Mapping[str, Any]) -> Recipe:
    overrides, model = overrides_of(options), options.get("model")
    data = None if options.get("data") is None else str(options["data"])
    argument = None if recipe is None or _is_recipe(recipe) else str(recipe)
    if recipe is None and model is None and data is None and not {"model.name", "data.name"} & dict(overrides).keys():
        raise ValueError(
            _(
                "expected a model or recipe, as in `convoy train fast-mnist` (MNIST, in seconds), or "
                "your own network and images, as in `convoy train net.py --data my_images/`"
            )
        )
    named = [("model.name", argument), ("model.name", model), ("data.name", data)]
    check_once([*((path, value) for path, value in named if value is not None), *overrides])
    if isinstance(recipe, Recipe):
        named = [("model.name", model), ("data.name", data)]
        resolved = recipe.override([pair for pair in named if pair[1] is not None] + overrides)
    else:
        if argument is not None:
            _check_known(argument)
        named = [("model.name", model)] if model is not None else []
        resolved = resolve(None if recipe is None else full_name(recipe), data=data, overrides=[*named, *overrides])
    name = resolved.model.name
    return resolved.override({"model.name": full_name(name)}) if name.endswith(".py") else resolved


def recipe_to_train(
    recipe: Recipe | str | Path | None, options: Mapping[str, Any], dataset: DataSet | None = None
) -> Recipe:
    """Like `recipe_of`, but adapts batch size and epochs to a user's small data set, unless they are set. `dataset`:
    the data, if the option `data` is not a name that can be loaded.
    """
    from convoy.data.prepare import count_training
    from convoy.data.sources import is_own

    resolved = recipe_of(recipe, options)
    if isinstance(recipe, Recipe) or not is_own(resolved.data.name):
        return resolved
    named = recipe is not None and _is_recipe(recipe)
    table = apply(read_chain(full_name(str(recipe)), Path())[0] if named else {}, overrides_of(options))
    fixed = {f"train.{key}" for key in table.get("train", {})}
    if fixed >= {few_images.BATCH, few_images.EPOCHS}:
        return resolved
    return few_images.fitted(resolved, count_training(resolved.data, dataset), fixed=fixed)


def full_name(argument: str | Path) -> str:
    """Returns "defaults/fast-mnist" for the recipe name "fast-mnist", "net.py:Net" for the file "net.py".

    A model's name has precedence over a recipe's short name. Raises ValueError if several recipes have this short name,
    or if the file has several networks.
    """
    name = str(argument)
    if name.endswith(".py"):
        from convoy.models.user import only_factory

        return only_factory(name)
    return name if name in MODELS else full_name_of_recipe(name)


def _check_known(name: str) -> None:
    """Raises ValueError unless this is the name of a model or recipe. Paths are checked elsewhere."""
    if not ("/" in name or name.endswith(".py") or is_user_class(name) or is_external(name) or name in MODELS):
        short_names = {full.rpartition("/")[2] for full in builtin_names()}
        if name not in short_names:
            raise unknown(_("model or recipe"), name, short_names.union(MODELS))


def named_recipes(
    recipes: Sequence[Recipe | str | Path] | Mapping[str, Recipe | str | Path], options: Mapping[str, Any]
) -> list[tuple[str, Recipe]]:
    pairs = recipes.items() if isinstance(recipes, Mapping) else with_labels(recipes)
    return [(label, recipe_to_train(recipe, options)) for label, recipe in pairs]


def overrides_of(options: Mapping[str, Any]) -> list[Override]:
    """Returns the overrides set by options. Raises ValueError for a key that is set twice."""
    flags = {path: options.get(name) for name, path in KEYS.items()}
    flags["data.augment"] = None if options.get("augment", True) else []
    flags["model.freeze"] = None if flags["model.freeze"] is None else parts_of(flags["model.freeze"])
    flags["model.init"] = weights_file(options.get("init"), options.get("out", DEFAULT_OUT))
    pairs = [(path, _absolute(value) if path == "model.init" else value) for path, value in _pairs(options["set"])]
    overrides = [(path, value) for path, value in flags.items() if value is not None] + pairs
    check_once(overrides)
    return overrides


def refuse_keys(options: Mapping[str, Any], paths: tuple[str, ...], study: str, instead: str) -> None:
    """Raises ValueError for a key that starts with one of `paths`, which the study sets itself."""
    for path, _value in overrides_of(options):
        if path.startswith(paths):
            raise ValueError(_("{study} sets {path} itself; {instead}", study=study, path=path, instead=instead))


def _pairs(set: Mapping[str, Any] | Sequence[Override]) -> list[Override]:  # noqa: A002
    return [(full_key(path), value) for path, value in (set.items() if isinstance(set, Mapping) else set)]


def folder_of(options: Mapping[str, Any], *parts: str) -> Path:
    """Returns the folder of a page: the user's choice, or a folder in `out`."""
    return Path(options["save"] or Path(options["out"], *parts)).absolute()


def parts_of(text: Sequence[str] | str) -> list[str]:
    """Splits a comma-separated text."""
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else list(text)


def numbers(name: str, values: Sequence[float] | str) -> list[float]:
    """Parses a comma-separated text. Raises ValueError for a part that is not a number."""
    parsed = []
    for part in values.split(",") if isinstance(values, str) else values:
        try:
            parsed.append(float(part))
        except ValueError:
            raise ValueError(
                _(
                    "{name} = {values}: expected numbers such as 1e-3,2e-3,1e-4, got {part!r}",
                    name=name,
                    values=values,
                    part=part,
                )
            ) from None
    return parsed


def _absolute(weights: Any) -> Any:
    """Makes the path of an existing file absolute, because a run's recipe is read relative to the run folder."""
    return str(Path(weights).resolve()) if isinstance(weights, str) and Path(weights).is_file() else weights


def _is_recipe(argument: Recipe | str | Path) -> bool:
    """Returns False for a model's name."""
    return isinstance(argument, Recipe) or (name := full_name(argument)).endswith(".toml") or name in builtin_names()


def names_data(model: Recipe | str | Path, options: Mapping[str, Any]) -> bool:
    """Returns whether a recipe or a key of `data` specifies the data."""
    return _is_recipe(model) or any(path.startswith("data.") for path, _value in _pairs(options["set"]))


def with_labels(recipes: Sequence[Recipe | str | Path]) -> list[tuple[str, Recipe | str | Path]]:
    """Returns each recipe with its label in reports."""
    names = [recipe.model.name if isinstance(recipe, Recipe) else full_name(recipe) for recipe in recipes]
    return list(zip(labels_of(names), recipes, strict=True))


def distinct_labels(runs: Sequence[Run]) -> list[str]:
    """Returns distinct labels of runs, if necessary with their protocol faults, seeds or full names."""

    def with_faults(run: Run) -> str:
        return ", ".join([run.label, *(str(fault) for fault in run.recipe.protocol.faults)])

    columns = [
        [run.label for run in runs],
        [with_faults(run) for run in runs],
        [f"{with_faults(run)}, seed {run.recipe.seed}" for run in runs],
    ]
    return next((labels for labels in columns if len(set(labels)) == len(runs)), [run.name for run in runs])


def find_run(run: Run | str | Path, out: str | Path) -> Run:
    """Raises ValueError if no run matches, if several match, and if a study matches."""
    if not isinstance(run, Run) and Path(run).is_file():
        raise ValueError(_("expected a run, but {run!r} is a file; {use_of}", run=str(run), use_of=_use_of(Path(run))))
    target = run if isinstance(run, Run) else locate(run, out, Run)
    if isinstance(target, Study):
        names = joined(member.run.name for member in target.members[:4])
        raise ValueError(_("expected a run, but {run!r} is a study; its runs: {names}", run=str(run), names=names))
    return target


def _use_of(file: Path) -> str:
    """Returns advice on how to use a file that is not a run."""
    if (file.parent / MARKERS[Run]).is_file():
        return _("use its folder, {folder!r}", folder=str(file.parent))
    match file.suffix:
        case ".pth" | ".pt" | ".safetensors":
            loaded = "safetensors.torch.load_file" if file.suffix == ".safetensors" else "torch.load"
            return _(
                "score its weights with `convoy test {file} --model NAME`; in Python, use {code}",
                file=file,
                code=f"network.load_state_dict({loaded}({file.name!r}))",
            )
        case ".pt2":
            return _("in Python, use {code}", code=f"torch.export.load({file.name!r}).module()")
        case ".onnx":
            return _("in Python, use {code}", code=f"onnxruntime.InferenceSession({file.name!r})")
    return _("convoy list runs shows the runs")


def weights_file(init: Run | str | Path | None, out: str | Path) -> str | None:
    """Returns the absolute path of a weights file. `init`: a run, the name of a run, or a weights file."""
    if init is None:
        return None
    if not isinstance(init, Run) and Path(init).is_file() and Path(init).suffix not in WEIGHTS:
        raise ValueError(_("{init}: expected a weights file ({weights})", init=init, weights=joined(WEIGHTS)))
    if not str(init):
        raise ValueError(_("init is empty: expected a run or a weights file"))
    target = weights_target(init, out)
    return str((target.file("best.safetensors") if isinstance(target, Run) else target).resolve())


def weights_target(weights: Run | str | Path, out: str | Path) -> Run | Path:
    """Returns a weights file or a run. best.safetensors in a run folder refers to the run."""
    if isinstance(weights, Run):
        return weights
    if str(weights).startswith(HUB):
        from convoy.exporting import hub

        folder = hub.download(str(weights))
        return Run(folder) if (folder / MARKERS[Run]).is_file() else folder / hub.WEIGHTS
    path = Path(weights)
    if path.suffix in WEIGHTS:
        if not (path.parent / "recipe.toml").is_file():
            return path
        run = Run(path.parent)
        return run if path.name == "best.safetensors" else run.file(path.name)
    return find_run(weights, out)
