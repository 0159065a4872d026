"""Verifies a run: compares its files with each other, and with values recomputed from its data and weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from convoy import record
from convoy.data.imageset import ImageSet
from convoy.evaluation import cost
from convoy.evaluation.load import best_weights, trusted_code
from convoy.recipe import Recipe
from convoy.record import Aspect, contradictions_in, images_that_may_change
from convoy.registry import is_user_class
from convoy.run_contents import Score, part_name
from convoy.run_files import Contradiction
from convoy.runs import WEIGHTS, Run
from convoy.text import gettext as _
from convoy.training.machine.denormals import denormals_as_zero
from convoy.training.machine.environment import BITS_DEPEND_ON, describe
from convoy.training.machine.threads import fix_threads, restored_threads
from convoy.training.run import finish
from convoy.training.run.plan import Plan, plan_one
from convoy.training.run.revisions import TRAINING_REVISION
from convoy.training.run.scoring import score_part, score_training
from convoy.verifying.result import Check, CheckResult, Gap, State, comparison, not_checkable

TOLERANCE = 1e-4  # relative to the largest value, if processor, thread count or version of torch differ; otherwise 0
PARTS = ("validation", "fold", "test")


def verify_run(run: Run, *, trust_code: bool = False) -> Iterator[CheckResult]:
    """Yields the checks of a run, except that of its training (convoy.verifying.stretch).

    Test images are predicted only if the run was scored on them. This is not counted as an opening of the test set,
    because the predictions are only compared with those in the run folder.
    """
    yield from of_files(run)
    if not run.finished:
        reason = _("the run is not finished")
        yield from (not_checkable(run.name, check, reason) for check in (Check.DATA, Check.RECIPE, Check.PREDICTIONS))
        return
    try:
        plan = plan_one(recipe_of(run, trust_code=trust_code))
    except (ValueError, OSError) as error:
        reason = str(error)
        for check in (Check.DATA, Check.RECIPE, Check.PREDICTIONS, Check.COST):
            yield not_checkable(run.name, check, reason)
        return
    of_data = _or_reason(run, Check.DATA, lambda: _of_data(run, plan))
    yield of_data
    yield _or_reason(run, Check.RECIPE, lambda: _of_recipe(run, plan))
    yield from _of_weights(run, plan, has_data=of_data.state is not State.DIFFERS)


def _or_reason(run: Run, check: Check, compute: Callable[[], CheckResult]) -> CheckResult:
    """Converts the error of a changed file to a reason: `Check.FILES` reports it, and the other checks continue."""
    try:
        return compute()
    except ValueError as error:
        return not_checkable(run.name, check, str(error))


def of_files(run: Run) -> Iterator[CheckResult]:
    """The checks that need neither data nor network."""
    words = {
        Aspect.FILES: _("SHA-256 of {n} files", n=len(run.status.files)),
        Aspect.STATUS: _("with recipe, curves and the folder's name"),
        Aspect.SCORES: _("computed from the predictions"),
        Aspect.CURVES: _("with scores and steps"),
    }
    for aspect in Aspect:
        check, found = Check(aspect.value), contradictions_in(run, aspect)
        if not found and aspect is Aspect.FILES and run.status.updating:
            yield not_checkable(run.name, check, _("a process is writing to the run, or was killed while it did"))
        elif not found and aspect is Aspect.FILES and len(run.status.files) < 2:  # recipe.toml alone
            yield not_checkable(run.name, check, _("the run has no hashes: it is unfinished, or from an older version"))
        elif not found and aspect is not Aspect.FILES and not run.finished:
            yield not_checkable(run.name, check, _("the run is not finished"))
        else:
            yield comparison(run.name, check, words[aspect], found)


def recipe_of(run: Run, *, trust_code: bool) -> Recipe:
    """Returns the recipe of a run, with a user's class from the run folder. Raises ValueError for untrusted code."""
    recipe = run.recipe
    if is_user_class(recipe.model.name):
        recipe = recipe.override({"model.name": trusted_code(run, trust_code=trust_code)[0]})
    return recipe


def tolerance_of(run: Run, plan: Plan) -> float:
    """0 if the run was trained on this processor, with this version of torch, and not resumed elsewhere.

    The thread count is not compared, because verification uses the run's own.
    """
    now, then = describe(plan.device, plan.recipe), run.environment
    keys = {*BITS_DEPEND_ON, "device"} - {"threads"} - ({"kernels"} if not then.kernels else set())
    same = all(getattr(now, key) == getattr(then, key) for key in keys) and [*now.cpu_flags] == [*then.cpu_flags]
    return 0.0 if same and not then.resumed_with else TOLERANCE


def _of_data(run: Run, plan: Plan) -> CheckResult:
    stated, found = run.data, plan.prepared
    pairs: dict[str, tuple[object, object]] = {
        "data_hash": (stated.data_hash, found.data_hash),
        "split_hash": (stated.split_hash, found.split_hash),
        "classes": ([*stated.classes], [*found.classes]),
        "mean": ([*stated.mean], [*found.mean]),
        "std": ([*stated.std], [*found.std]),
        "limit": (stated.limit, found.limit),
        "selection": (stated.selection, plan.selection),
    }
    different = [
        Contradiction(run.name, record.DATA, _("the data set"), name, before, now)
        for name, (before, now) in pairs.items()
        if before != now
    ]
    return comparison(run.name, Check.DATA, _("hashes of data and split, normalisation"), different)


def _of_recipe(run: Run, plan: Plan) -> CheckResult:
    if run.environment.training_revision != TRAINING_REVISION:
        return not_checkable(run.name, Check.RECIPE, _("trained by a version of Convoy with another fingerprint"))
    stated, found = run.status.fingerprint, plan.fingerprint
    different = Contradiction(run.name, record.RECIPE, "status.json", "fingerprint", found[:12], stated[:12])
    words = _("fingerprint of recipe, data and code")
    return comparison(run.name, Check.RECIPE, words, [different] if stated != found else [])


@dataclass
class _Recomputed:
    """The differences from recomputed values."""

    run: Run
    tolerance: float  # tolerance of outputs
    contradictions: list[Contradiction] = field(default_factory=list)
    images: int = 0
    largest: float = 0.0

    def add(self, file: str, quantity: str, stated: object, found: object) -> None:
        self.contradictions.append(Contradiction(self.run.name, file, WEIGHTS, quantity, stated, found))


def _of_weights(run: Run, plan: Plan, *, has_data: bool) -> Iterator[CheckResult]:
    reason = "" if has_data else _("the data differ from those of the run")
    if not reason:
        try:
            weights = best_weights(run)
            with denormals_as_zero(), restored_threads():
                fix_threads(run.environment.threads)
                module = plan.network_with(weights)
                result = _predict_again(run, plan, module)
        except ValueError as error:
            reason = str(error)
    if reason:
        yield not_checkable(run.name, Check.PREDICTIONS, _("archived without weights") if run.is_archived else reason)
        yield not_checkable(run.name, Check.COST, _("archived without weights") if run.is_archived else reason)
        return
    words = _("outputs of {n:,} images and their scores, from the weights", n=result.images)
    gap = Gap(result.largest, result.tolerance)
    yield comparison(run.name, Check.PREDICTIONS, words, result.contradictions, gap)
    yield _or_reason(run, Check.COST, lambda: _of_cost(run, plan, module))


def _predict_again(run: Run, plan: Plan, module: nn.Module) -> _Recomputed:
    result, arrays, scores = _Recomputed(run, tolerance_of(run, plan)), run.predictions, run.stated_scores
    epoch = finish.kept_epoch(plan, run.status.best_epoch, run.status.steps)
    for part in PARTS:
        images = _images(plan, part, epoch) if f"{part}_labels" in arrays else None
        if images is None:
            continue
        scored = score_part(plan, module, part, images, epoch=epoch)
        result.images += len(scored.logits)
        if not np.array_equal(arrays[f"{part}_labels"], scored.images.labels):
            result.add(record.PREDICTIONS, f"{part} labels", len(arrays[f"{part}_labels"]), len(scored.images.labels))
            continue
        _compare_outputs(result, part, arrays[f"{part}_logits"], scored.logits)
        if part in scores:
            _compare_scores(result, part, scores[part], scored.score)
    if "train" in scores:
        _compare_scores(result, "train", scores["train"], score_training(plan, module))
    return result


def _images(plan: Plan, part: str, epoch: int) -> ImageSet | None:
    if part == "validation":
        return plan.validation_in(epoch) if plan.prepared.validation is not None else None
    if part == "fold":
        return plan.prepared.fold
    return None if plan.prepared.test is None else plan.prepared.test.open(lambda data_hash: None)  # see verify_run


def _compare_outputs(result: _Recomputed, part: str, stated: np.ndarray, found: np.ndarray) -> None:
    finite = np.isfinite(stated) & np.isfinite(found)
    scale = max(float(np.abs(found[finite]).max(initial=0)), 1e-30)
    gap = float(np.abs(stated[finite] - found[finite]).max(initial=0)) / scale
    result.largest = max(result.largest, gap)
    if gap > result.tolerance or not np.array_equal(np.isfinite(stated), np.isfinite(found)):
        changed = int((stated.argmax(1) != found.argmax(1)).sum())
        result.add(
            record.PREDICTIONS, _("{part}: images with another predicted class", part=part_name(part)), 0, changed
        )


def _compare_scores(result: _Recomputed, part: str, stated: Score, found: Score) -> None:
    if abs(stated.correct - found.correct) > images_that_may_change(found.n) or stated.n != found.n:
        result.add(record.SCORES, f"{part}.correct", stated.correct, found.correct)
    if not _close(stated.loss, found.loss):
        result.add(record.SCORES, f"{part}.loss", stated.loss, found.loss)
    for k, share in found.top_k.items():
        if abs(stated.top_k.get(k, -1) - share) * found.n > images_that_may_change(found.n):
            result.add(record.SCORES, f"{part}.top_k.{k}", stated.top_k.get(k), share)


def _close(stated: float | None, found: float | None) -> bool:
    if stated is None or found is None:
        return stated is found
    return math.isclose(stated, found, rel_tol=10 * TOLERANCE, abs_tol=1e-6)


def _of_cost(run: Run, plan: Plan, module: nn.Module) -> CheckResult:
    shape = (plan.prepared.in_chans, plan.prepared.image_size, plan.prepared.image_size)
    recomputed = {"parameters": cost.parameters(module), "macs_per_image": cost.flops_per_image(module, shape) // 2}
    different = [
        Contradiction(run.name, "cost.json", WEIGHTS, name, stated, value)
        for name, value in recomputed.items()
        if (stated := getattr(run.cost, name)) is not None and stated != value
    ]
    return comparison(run.name, Check.COST, _("parameters and multiply-adds"), different)
