"""Functions that run a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from convoy.api.session import finished, session_of
from convoy.options import takes_options
from convoy.studies.compare.options import CompareOptions
from convoy.studies.crossval.options import CrossvalOptions
from convoy.studies.landscape.options import LandscapeOptions
from convoy.studies.lr_range.options import LrRangeOptions
from convoy.studies.search.options import SearchOptions
from convoy.studies.seeds.options import SeedsOptions

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe


@takes_options
def compare(
    recipes: Sequence[Recipe | str | Path] | Mapping[str, Recipe | str | Path], **options: Unpack[CompareOptions]
) -> Study:
    """Train several recipes with several seeds each, and report which is better and by how much.

    Example: `convoy compare lenet two_conv_cnn --data mnist --epochs 3 --seeds 3`
    """
    from convoy.api.arguments import named_recipes, overrides_of
    from convoy.recipe import check_once, parse_values
    from convoy.studies.compare import ablation
    from convoy.studies.compare.run import run, with_seeds

    vary = options["vary"]
    pairs = vary.items() if isinstance(vary, Mapping) else vary
    varied = [parse_values(pair) if isinstance(pair, str) else pair for pair in pairs]
    check_once(overrides_of(options), dict(varied))
    named = named_recipes(recipes, options)
    design, named = ablation.combine(named, varied) if varied else (None, named)
    entries = with_seeds(named, options["seeds"])
    with session_of([f"{entry.label} seed {entry.recipe.seed}" for entry in entries], options) as session:
        return finished(run(entries, session, design=design), options)


@takes_options
def crossval(recipe: Recipe | str | Path | None = None, **options: Unpack[CrossvalOptions]) -> Study:
    """Cross-validate a recipe: score each training image with a network not trained on it. The test set is not used.

    The study's folder holds oof.npz, the out-of-fold predictions of all training images.

    Example: `convoy crossval lenet --data mnist --folds 5 --epochs 3`
    """
    from convoy.api.arguments import check_left_out, recipe_of
    from convoy.studies.crossval.run import entries_of, run

    own = ("data.split.folds", "data.split.fold", "data.split.repeat")
    check_left_out(options, own, "a cross-validation", "set folds and repeats instead")
    resolved = recipe_of(recipe, options)
    if options["group_by"] is not None:
        resolved = resolved.override({"data.split.group_by": options["group_by"]})
    folds, repeats = options["folds"], options["repeats"]
    names = [entry.label for entry in entries_of(resolved, folds, repeats)]
    with session_of(names, options) as session:
        return finished(run(resolved, session, folds=folds, repeats=repeats), options)


@takes_options
def lr_range(recipe: Recipe | str | Path | None = None, **options: Unpack[LrRangeOptions]) -> Study:
    """Find a range of useful learning rates: one short run whose rate rises at each step.

    The finding has the rates at which the training loss fell fastest, was lowest, and diverged. The test set is not
    used.

    Example: `convoy lr-range lenet --data mnist --from 1e-5 --to 1`
    """
    from convoy.api.arguments import check_left_out, recipe_of
    from convoy.runs import model_label
    from convoy.studies.lr_range.run import run

    own = ("optim.lr", "schedule", "stop", "train.epochs")
    check_left_out(options, own, "a range test", "set its lowest and highest rate (--from, --to) instead")
    resolved = recipe_of(recipe, options)
    with session_of([model_label(resolved)], options) as session:
        return finished(run(resolved, session, lowest=options["lowest"], highest=options["highest"]), options)


@takes_options
def landscape(
    recipes: Sequence[Recipe | str | Path] | Mapping[str, Recipe | str | Path], **options: Unpack[LandscapeOptions]
) -> Study:
    """Measure the loss landscape: over learning rates, along the update step and around the trained weights.

    The finding compares the widths of the recipes' loss bands. The test set is opened only for a recipe with the fault
    selection_on_test.

    Example: `convoy landscape lenet two_conv_cnn --data mnist --lrs 1e-3,1e-2 --epochs 3 --resolution 9`
    """
    from convoy.api.arguments import named_recipes, numbers, overrides_of
    from convoy.recipe import check_once
    from convoy.studies.landscape.design import Design, Spec
    from convoy.studies.landscape.run import run

    lrs, overrides = numbers("lrs", options["lrs"]), overrides_of(options)
    # optim.lr may be one of `lrs`, to select the rate measured in detail; any other value would be ignored.
    check_once(overrides, ["optim.lr"] if dict(overrides).get("optim.lr") not in lrs else [])
    named = named_recipes(recipes, options)
    spec = Spec(options["surface_images"], options["resolution"]) if options["surfaces"] else None
    design = Design(lrs, options["seeds"], options["cut"], options["own_seeds"], options["looks"])
    with session_of(design.names(named), options) as session:
        return finished(run(named, session, design, surfaces=spec), options)


@takes_options
def search(recipe: Recipe | str | Path | None = None, **options: Unpack[SearchOptions]) -> Study:
    """Search a recipe's hyperparameters for the highest validation accuracy, then retrain the best with fresh seeds.

    In Python, `grid` is also {"train.batch_size": [64, 128]}, and `range` {"optim.lr": (1e-4, 1e-1)}. The test set is
    opened for the best point only, unless the recipe has the fault selection_on_test: then it scores the trials, and
    each opening is counted.

    Example: `convoy search lenet --data mnist --epochs 3 --grid train.batch_size=32,64 --grid optim.lr=1e-4,1e-3`
    """
    from convoy.api.arguments import overrides_of, recipe_of
    from convoy.recipe import check_once
    from convoy.studies.search import run as searching
    from convoy.studies.search.space import Space, axes_of

    space = Space(axes_of(options["grid"], options["range"]))
    check_once(overrides_of(options), space.paths)
    asked = searching.asked(
        recipe_of(recipe, options),
        space,
        trials=options["trials"],
        sampler=options["sampler"],
        pruner=options["pruner"],
        seeds=options["seeds"],
    )
    with session_of(asked.names, options) as session:
        return finished(searching.run(asked, session, storage=options["storage"]), options)


@takes_options
def seeds(recipe: Recipe | str | Path | None = None, **options: Unpack[SeedsOptions]) -> Study:
    """Measure how much of an accuracy is luck: initial weights, order of the images, split of the data.

    Each source is drawn again while the others keep their seeds, then all three together: 4 * (seeds - 1) + 1 runs.
    The report has the standard deviation of each and the seeds that a comparison of two models needs.

    Example: `convoy seeds lenet --data mnist --epochs 1 --seeds 3`
    """
    from convoy.api.arguments import recipe_of
    from convoy.studies.seeds.run import entries_of, run

    if bad := [points for points in options["difference"] if not 0 < points < 100]:
        raise ValueError(f"difference = {bad[0]:g}: expected points of accuracy, between 0 and 100")
    resolved = recipe_of(recipe, options)
    names = [f"{entry.label} seed {entry.recipe.seed}" for entry in entries_of(resolved, options["seeds"])]
    differences = [points / 100 for points in options["difference"]]
    with session_of(names, options) as session:
        return finished(run(resolved, session, seeds=options["seeds"], differences=differences), options)
