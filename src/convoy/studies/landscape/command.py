"""The public function of `convoy landscape`, with its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Required, Unpack

from convoy.api.session import finished, session_of
from convoy.options import Epochs, Flag, Fresh, StudyOptions, takes_options

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe


class LandscapeOptions(StudyOptions, total=False):
    lrs: Required[
        Annotated[
            Sequence[float] | str,
            Flag(
                "Two or more learning rates, as in 1e-3,1e-4, one run each; the loss band spans their "
                "losses. The run at the recipe's own learning rate or, if that is not listed, at the first "
                "rate is measured in detail."
            ),
        ]
    ]
    vary: Annotated[
        Mapping[str, Sequence[Any]] | Sequence[tuple[str, Sequence[Any]]] | Sequence[str],
        Flag(
            "A key and its values, as in model.options.norm=batch,none. Can be repeated: the report "
            "shows the effect of each key on the width of the band.",
            (),
        ),
    ]
    seeds: Annotated[int, Flag("Repeat everything with this many seeds: seed, seed + 1, and so on.", 1)]
    surfaces: Annotated[
        bool,
        Flag(
            "Compute the loss around the trained weights: along a line, in a plane, and in the plane of the training "
            "path.",
            True,
        ),
    ]
    surface_images: Annotated[int, Flag("Number of training images used for the surfaces.", 1000)]
    resolution: Annotated[int, Flag("Grid points along each side of a plane.", 25)]
    cut: Annotated[
        Literal["all", "each"],
        Flag(
            "Where the plotted bands end. all: at the end of the shortest run; each: at the end of the "
            "shortest run of the recipe, as in published figures.",
            "all",
        ),
    ]
    own_seeds: Annotated[
        bool, Flag("Use a different seed at each rate, instead of the same initial weights and batches.", False)
    ]
    step_probes: Annotated[bool, Flag("Measure loss and gradient along the update step, at one learning rate.", True)]
    epochs: Epochs
    fresh: Fresh


@takes_options
def landscape(
    recipes: Sequence[Recipe | str | Path] | Mapping[str, Recipe | str | Path], **options: Unpack[LandscapeOptions]
) -> Study:
    """Measure the loss landscape: over learning rates, along the update step and around the trained weights.

    The finding compares the widths of the recipes' loss bands. The test set is opened only for a recipe with the fault
    selection_on_test.

    Example: `convoy landscape lenet two_conv_cnn --data mnist --lrs 1e-3,1e-2 --epochs 3 --resolution 9`

    Returns
    -------
    Study
        Its finding is a LandscapeFinding.

    Examples
    --------
    >>> study = convoy.landscape(["lenet"], lrs=[1e-3, 1e-2], epochs=1, limit=500, surfaces=False)
    >>> band = study.finding.recipes[0]
    """
    from convoy.api.arguments import named_recipes, numbers, overrides_of
    from convoy.recipe.files import check_once
    from convoy.run_contents import from_table
    from convoy.studies.compare import ablation
    from convoy.studies.landscape.design import Design, Spec
    from convoy.studies.landscape.run import run

    lrs, overrides = numbers("lrs", options["lrs"]), overrides_of(options)
    # optim.lr may be one of `lrs`, to select the rate measured in detail; any other value would be ignored.
    check_once(overrides, ["optim.lr"] if dict(overrides).get("optim.lr") not in lrs else [])
    named = named_recipes(recipes, options)
    varied, named = ablation.combine_all(named, options["vary"], overrides)
    spec = Spec(options["surface_images"], options["resolution"]) if options["surfaces"] else None
    design = from_table(Design, {**options, "lrs": lrs})
    with session_of(design.names(named), options) as session:
        return finished(run(named, session, design, surfaces=spec, varied=varied), options)
