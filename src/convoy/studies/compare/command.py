"""The public function of `convoy compare`, with its options."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from convoy.api.session import finished, session_of
from convoy.options import Epochs, Flag, Fresh, Init, StudyOptions, Test, takes_options

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe


class CompareOptions(StudyOptions, total=False):
    vary: Annotated[
        Mapping[str, Sequence[Any]] | Sequence[tuple[str, Sequence[Any]]] | Sequence[str],
        Flag(
            "A key and its values, as in model.options.norm=batch,none. Can be repeated: trains every combination.",
            (),
        ),
    ]
    seeds: Annotated[int, Flag("Runs per recipe, with seed, seed + 1, and so on.", 3)]
    epochs: Epochs
    init: Init
    fresh: Fresh
    test: Test
    explore: Annotated[
        bool, Flag("Also write the page of `convoy explore` for the best run into the folder of the study.", False)
    ]


@takes_options
def compare(
    recipes: Sequence[Recipe | str | Path] | Mapping[str, Recipe | str | Path], **options: Unpack[CompareOptions]
) -> Study:
    """Train several recipes with several seeds each, and report which is better and by how much.

    Example: `convoy compare lenet two_conv_cnn --data mnist --epochs 3 --seeds 3`

    Returns
    -------
    Study
        Its finding is a CompareFinding.

    Examples
    --------
    >>> study = convoy.compare(["lenet", "two_conv_cnn"], seeds=2, epochs=1, limit=500)
    >>> best = study.finding.ranked[0]
    >>> print(best.label, best.accuracy.mean, best.accuracy.half_width)
    """
    from convoy.api.arguments import named_recipes, overrides_of
    from convoy.studies.compare import ablation
    from convoy.studies.compare.run import run, with_seeds

    overrides = overrides_of(options)
    design, named = ablation.combine_all(named_recipes(recipes, options), options["vary"], overrides)
    entries = with_seeds(named, options["seeds"])
    with session_of([entry.title for entry in entries], options) as session:
        study = finished(run(entries, session, design=design), options)
    if options["explore"]:
        _explore_best(study)
    return study


def _explore_best(study: Study) -> None:
    """Writes explore.html. If the page cannot run the network, prints a warning instead of raising an error: the study
    is complete.
    """
    from convoy.api.describe import explore
    from convoy.exploring.graph import UnsupportedError
    from convoy.reporting import EXPLORED

    finding = study.finding
    runs = [member.run for member in study.members if member.label == finding.ranked[0].label]
    best = max(runs, key=lambda run: run.scores[finding.part].accuracy if finding.part in run.scores else -1.0)
    try:
        explore(best, save=study.path / EXPLORED, trust_code=True)
    except UnsupportedError as error:
        print(error, file=sys.stderr)
