"""What the arguments of the public functions mean: recipes, overrides, labels, runs and files of weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convoy.recipe import Override, Recipe, builtin_names, check_once, resolve
from convoy.registry import labels_of
from convoy.runs import DEFAULT_OUT, Run, Study, Workspace

WEIGHTS = (".safetensors", ".pth", ".pt")


def locate(argument: str | Path, out: str | Path = DEFAULT_OUT) -> Run | Study:
    """Finds a run or study by its path, or in OUT by its name or a part of it that fits only one.

    A part is one or more words between hyphens. A run's last word, its fingerprint, may be abbreviated.
    Raises ValueError if nothing fits or several do.
    """
    path = Path(argument)
    for kind in (Run, Study):
        marker = "recipe.toml" if kind is Run else "study.toml"
        if (path / marker).is_file():
            return kind(path)
    workspace = Workspace(out)
    candidates: list[Run | Study] = [*workspace.runs(), *workspace.studies()]
    exact = [candidate for candidate in candidates if candidate.name == str(argument)]
    fitting = exact or [candidate for candidate in candidates if _is_part(str(argument), candidate)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ValueError(f"no run or study {str(argument)!r}, neither at this path nor in {workspace.path}")
    names = ", ".join(candidate.name for candidate in fitting[:6])
    raise ValueError(f"{str(argument)!r} fits {len(fitting)} runs and studies in {workspace.path}: {names}")


def _is_part(text: str, candidate: Run | Study) -> bool:
    end = "-|[0-9a-f]*$" if isinstance(candidate, Run) else "-|$"
    return re.search(f"(^|-){re.escape(text)}({end})", candidate.name) is not None


def resolve_recipe(recipe: Recipe | str | Path | None, *, model: str | None, data: str | None, **flags: Any) -> Recipe:
    overrides = overrides_of(**flags)
    argument = None if recipe is None or _is_recipe(recipe) else str(recipe)
    asked = [("model.name", argument), ("model.name", model), ("data.name", data)]
    check_once([*((path, value) for path, value in asked if value is not None), *overrides])
    if isinstance(recipe, Recipe):
        named = [("model.name", model), ("data.name", data)]
        return recipe.override([pair for pair in named if pair[1] is not None] + overrides)
    if model is not None:
        overrides = [("model.name", model), *overrides]
    return resolve(None if recipe is None else str(recipe), data=data, overrides=overrides)


def overrides_of(
    *,
    set: Mapping[str, Any] | Sequence[Override],  # noqa: A002
    epochs: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    device: str | None = None,
    init: str | None = None,
) -> list[Override]:
    flags = {"train.epochs": epochs, "seed": seed, "data.limit": limit, "compute.device": device, "model.init": init}
    pairs = list(set.items()) if isinstance(set, Mapping) else list(set)
    pairs = [(path, _absolute(value) if path == "model.init" else value) for path, value in pairs]
    overrides = [(path, value) for path, value in flags.items() if value is not None] + pairs
    check_once(overrides)
    return overrides


def _absolute(weights: Any) -> Any:
    """An existing file by its absolute path: a run's recipe is read relative to the run folder."""
    return str(Path(weights).resolve()) if isinstance(weights, str) and Path(weights).is_file() else weights


def _is_recipe(argument: Recipe | str | Path) -> bool:
    """False for a model's name."""
    return isinstance(argument, Recipe) or str(argument).endswith(".toml") or str(argument) in builtin_names()


def names_data(model: Recipe | str | Path, set: Mapping[str, Any] | Sequence[Override]) -> bool:  # noqa: A002
    """Whether the argument determines the data: it is a recipe, or a key of `data` is set."""
    return _is_recipe(model) or any(path.startswith("data.") for path, _ in overrides_of(set=set))


def with_labels(recipes: Sequence[Recipe | str | Path]) -> list[tuple[str, Recipe | str | Path]]:
    """Pairs each with its label in reports."""
    names = [recipe.model.name if isinstance(recipe, Recipe) else str(recipe) for recipe in recipes]
    return list(zip(labels_of(names), recipes, strict=True))


def find_run(run: Run | str | Path, out: str | Path) -> Run:
    """Raises ValueError if no run fits, several do, or a study does."""
    target = run if isinstance(run, Run) else locate(run, out)
    if isinstance(target, Study):
        names = ", ".join(member.run.name for member in target.members[:4])
        raise ValueError(f"expected a run, but {str(run)!r} is a study; its runs: {names}")
    return target


def weights_file(init: Run | str | Path | None, out: str | Path) -> str | None:
    """The absolute path of the weights that a run, its name or a path refers to."""
    if init is None:
        return None
    if not isinstance(init, Run) and Path(init).is_file() and Path(init).suffix not in WEIGHTS:
        raise ValueError(f"{init}: expected a weights file ({', '.join(WEIGHTS)})")
    if not str(init):
        raise ValueError("init is empty: expected a run or a weights file")
    target = weights_target(init, out)
    return str((target.file("best.safetensors") if isinstance(target, Run) else target).resolve())


def weights_target(weights: Run | str | Path, out: str | Path) -> Run | Path:
    """A weights file, or a run; best.safetensors in a run folder refers to the run."""
    if isinstance(weights, Run):
        return weights
    path = Path(weights)
    if path.suffix in WEIGHTS:
        if not (path.parent / "recipe.toml").is_file():
            return path
        run = Run(path.parent)
        return run if path.name == "best.safetensors" else run.file(path.name)
    return find_run(weights, out)
