"""The finding of a search: the winner, its accuracy with fresh seeds, and its optimistic accuracy in the search."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from convoy.prediction import difference_of_two_runs
from convoy.runs import Member
from convoy.stats import Estimate, t_interval, wilson
from convoy.studies.space import Range, Space, Values

if TYPE_CHECKING:
    from convoy.studies.search import Search

FEWEST_ENDED = 10  # trials trained to the end; with fewer the importance uses all trials
Params = Mapping[str, Any]


def conclude(
    asked: Search,
    known: Sequence[FrozenTrial],
    best: FrozenTrial,
    members: Sequence[Member],
    folder: Path,
    *,
    at_once: bool,
    openings: int,
) -> dict[str, Any]:
    """The finding as JSON. Accuracies are fractions; that of a trial is its best epoch on the scored part.

    `openings`: of the test set by the trials, 0 unless a fault scores them on it.
    """
    part = "test" if all("test" in member.run.scores for member in members) else "validation"
    estimates = {name: _estimate(members, name) for name in dict.fromkeys((part, asked.scored_on))}
    trials = [_trial(number, frozen, asked.space, folder) for number, frozen in enumerate(known, start=1)]
    winner = next(trial for trial, frozen in zip(trials, known, strict=True) if frozen.number == best.number)
    importance, importance_basis = importances(known)
    full = sum(trial["params"].get("train.epochs", asked.base.train.epochs) for trial in trials)
    finding = {
        "kind": "search",
        "metric": f"{part} accuracy",
        "part": part,
        "scored_on": asked.scored_on,
        "test_openings_by_trials": openings,
        "label": asked.label,
        "data": members[0].run.data["name"],
        "space": [axis.as_json() for axis in asked.space.axes],
        "method": {
            "grid": asked.trials is None,
            "trials": len(trials),
            "sampler": None if asked.trials is None else asked.sampler,
            "pruner": asked.pruner,
            "seed": asked.base.seed,
        },
        "winner": {
            "number": winner["number"],
            "params": winner["params"],
            "search_accuracy": winner["accuracy"],
            "accuracy": estimates[part].as_json(),
            **({"validation_accuracy": estimates["validation"].as_json()} if "validation" in estimates else {}),
            "seeds": [member.seed for member in members],
        },
        "epochs": {"each": asked.base.train.epochs, "trained": sum(trial["epochs"] for trial in trials), "full": full},
        "importance": importance,
        "importance_of": importance_basis,
        "trials": trials,
    }
    return {**finding, "sentence": _sentence(finding), "caveats": _caveats(finding, asked, members, at_once)}


def text_of(params: Params) -> str:
    """ "train.batch_size = 64 and optim.lr = 0.005" """
    *rest, last = [
        f"{path} = {f'{value:.4g}' if isinstance(value, float) else value}" for path, value in params.items()
    ]
    return f"{', '.join(rest)} and {last}" if rest else last


def importances(known: Sequence[FrozenTrial]) -> tuple[dict[str, float] | None, str]:
    """Share of the accuracy's variance that each key explains (fANOVA, Hutter et al. 2014), and the trials used.

    None if there are too few different trials. Diverged trials are excluded.
    """
    sound = [frozen for frozen in known if not frozen.user_attrs.get("diverged")]
    ended = [frozen for frozen in sound if frozen.state == TrialState.COMPLETE]
    basis = "trained to the end"
    if len(ended) < FEWEST_ENDED:
        ended, basis = sound, "at their last epoch"
    copies = [
        create_trial(params=frozen.params, distributions=frozen.distributions, value=_accuracy(frozen))
        for frozen in ended
    ]
    varied = [path for path in copies[0].params if len({repr(copy.params[path]) for copy in copies}) > 1]
    if len(varied) < 2 or len({copy.value for copy in copies}) < 2:
        return None, ""
    study = optuna.create_study(direction="maximize")
    study.add_trials(copies)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied, normalize=False)
    return dict(shares), f"{len(copies)} trials, {basis}"


def _accuracy(frozen: FrozenTrial) -> float:
    if frozen.user_attrs.get("diverged"):
        return 0.0
    return max(frozen.intermediate_values.values(), default=0.0)


def _trial(number: int, frozen: FrozenTrial, space: Space, folder: Path) -> dict[str, Any]:
    state = "stopped early" if frozen.state == TrialState.PRUNED else "trained to the end"
    run = Path(frozen.user_attrs["run"])
    return {
        "number": number,
        "params": dict(space.overrides(frozen.params)),
        "accuracy": _accuracy(frozen),
        "epochs": frozen.user_attrs["epochs"],
        "state": "diverged" if frozen.user_attrs.get("diverged") else state,
        "run": os.path.relpath(run, folder.resolve()) if run.is_dir() else None,
    }


def _estimate(members: Sequence[Member], part: str) -> Estimate:
    scores = [member.run.scores[part] for member in members]
    if len(scores) == 1:
        return wilson(scores[0]["correct"], scores[0]["n"])
    return t_interval([score["accuracy"] for score in scores], step=1 / scores[0]["n"])


def _sentence(finding: Mapping[str, Any]) -> str:
    winner, trials = finding["winner"], finding["method"]["trials"]
    seeds = len(winner["seeds"])
    return (
        f"Of {trials} {'points' if finding['method']['grid'] else 'trials'}, {text_of(winner['params'])} had the "
        f"highest accuracy on {_images(finding)} for {finding['label']} on {finding['data']}; retrained with "
        f"{'a fresh seed' if seeds == 1 else f'{seeds} fresh seeds'} it reaches "
        f"{Estimate.from_json(winner['accuracy']).text()} {finding['metric']}"
    )


def _caveats(finding: Mapping[str, Any], asked: Search, members: Sequence[Member], at_once: bool) -> list[str]:
    winner, method = finding["winner"], finding["method"]
    flags = dict.fromkeys(flag for member in members for flag in member.run.status.get("flags", []))
    caveats = [
        *flags,
        *_scored_on_test(finding),
        f"In the search the winner had {winner['search_accuracy']:.2%} on {_images(finding)}: as the best of "
        f"{method['trials']} trials on the same images and with one seed, this tends to be too high",
        *_close(finding),
        *_at_the_edge(winner["params"], asked.space),
    ]
    if method["trials"] < asked.count:
        caveats.append(f"{asked.count} trials were requested: after {method['trials']} the sampler found no new point")
    if method["trials"] > asked.count:
        caveats.append(
            f"{asked.count} trials were requested, but the search already had {method['trials']}: all are included"
        )
    if len(winner["seeds"]) == 1:
        caveats.append("One fresh seed: the interval is over images and does not cover other seeds")
    if finding["part"] == "validation":
        caveats.append("The test set stayed closed: validation accuracy also selected the winner and each run's epoch")
    states = [trial["state"] for trial in finding["trials"]]
    if early := states.count("stopped early"):
        caveats.append(
            f"{early} of {len(states)} trials were stopped early by {method['pruner']}: "
            "a slow starter may be among them"
        )
    if diverged := states.count("diverged"):
        caveats.append(f"{diverged} {'trial' if diverged == 1 else 'trials'} diverged and could not win")
    depends_on_order = method["pruner"] in ("hyperband", "median") or method["sampler"] in ("tpe", "gp")
    if at_once and depends_on_order:
        caveats.append(
            "Several trials were trained in parallel, and their order of completion affected which points were tried "
            "or stopped: the same search may give another result"
        )
    return caveats


def _scored_on_test(finding: Mapping[str, Any]) -> list[str]:
    if finding["scored_on"] != "test":
        return []
    return [
        f"The trials are scored on the test set, which they opened {finding['test_openings_by_trials']:,} times: it "
        "selected the winner and each run's epoch, so that no accuracy here is on images without selection"
    ]


def _images(finding: Mapping[str, Any]) -> str:
    """The images that scored the trials."""
    return "the test set" if finding["scored_on"] == "test" else "validation"


def _close(finding: Mapping[str, Any]) -> list[str]:
    """Trials that may be as good as the winner: their distance is within that of two single runs."""
    winner = finding["winner"]
    seeds = Estimate.from_json(winner.get("validation_accuracy", winner["accuracy"]))
    if seeds.sd is None:
        return ["One fresh seed has no spread: how many other trials are as good as the winner is unknown"]
    margin = difference_of_two_runs(seeds)
    within = [
        trial
        for trial in finding["trials"]
        if trial["number"] != winner["number"] and trial["accuracy"] >= winner["search_accuracy"] - margin
    ]
    if not within:
        return []
    return [
        f"{len(within)} other {'trial is' if len(within) == 1 else 'trials are'} within {100 * margin:.2f} points of "
        f"the winner on {_images(finding)} and may be as good: 95 % of the differences of two single runs are smaller "
        f"(t with {seeds.n - 1} degrees of freedom, from the spread of the {seeds.n} fresh seeds)"
    ]


def _at_the_edge(params: Params, space: Space) -> list[str]:
    """Keys whose winning value is the lowest or the highest in the search."""
    caveats = []
    for axis in space.axes:
        value = params[axis.path]
        numbers = [v for v in axis.extremes if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < len(axis.extremes) or len(numbers) < 2 or not isinstance(axis, Values | Range):
            continue
        low, high = min(numbers), max(numbers)
        if value in (low, high):
            end = "lowest" if value == low else "highest"
            caveats.append(f"{axis.path} = {value:g} is the {end} value in the search: the best may be outside")
    return caveats
