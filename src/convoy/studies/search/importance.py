"""Which keys of a search matter: fANOVA over its trials."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from convoy.studies.search.finding import Importance
from convoy.studies.search.loop import accuracy_of, has_diverged

FEWEST_ENDED = 10  # trials trained to the end; with fewer the importance uses all trials


def importance_of(known: Sequence[FrozenTrial]) -> Importance | None:
    """None if there are too few different trials. Diverged trials are excluded."""
    sound = [frozen for frozen in known if not has_diverged(frozen)]
    used = [frozen for frozen in sound if frozen.state == TrialState.COMPLETE]
    only_finished = len(used) >= FEWEST_ENDED
    if not only_finished:
        used = sound
    copies = [
        create_trial(params=frozen.params, distributions=frozen.distributions, value=accuracy_of(frozen))
        for frozen in used
    ]
    varied = [path for path in copies[0].params if len({repr(copy.params[path]) for copy in copies}) > 1]
    if len(varied) < 2 or len({copy.value for copy in copies}) < 2:
        return None
    study = optuna.create_study(direction="maximize")
    study.add_trials(copies)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied, normalize=False)
    return Importance(dict(shares), len(copies), only_finished)
