"""Writes the results of a trained run: scores, predictions, images for the report, costs, a user's code."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
from torch import nn

from convoy.checkpoint import save_weights
from convoy.data.batches import steps_per_epoch
from convoy.data.imageset import ImageSet
from convoy.evaluation import cost
from convoy.evaluation.cost import PeakMemory
from convoy.evaluation.load import remember_code
from convoy.evaluation.scores import hardest, probabilities
from convoy.files import write_arrays, write_json
from convoy.models.run_code import RunCode
from convoy.randomness import derive_seed
from convoy.recipe.faults import Fault
from convoy.run_contents import Cost, RunData
from convoy.runs import Run, Workspace
from convoy.training.run import lines, reloaded
from convoy.training.run.ledger import Ledger
from convoy.training.run.plan import Plan
from convoy.training.run.scoring import ScoredPart, score_part, score_training
from convoy.training.run.state import TrainingState
from convoy.training.run.stopping import StopRule

GALLERY_IMAGES = 40
SAMPLES_PER_CLASS = 10


def score_and_describe(state: TrainingState, workspace: Workspace, peak: PeakMemory, *, test: bool) -> Iterator[str]:
    """Scores the saved weights, reloaded from their file, and measures costs. Yields console lines."""
    run, plan, ledger = state.run, state.plan, state.ledger
    flags = run.status.flags
    epoch = kept_epoch(plan, ledger.best_epoch, ledger.step)
    last_is_kept = plan.recipe.protocol.keeps_last(ledger.best_epoch)
    if last_is_kept:
        state.keep_best()
    elif ledger.best_epoch < len(run.metrics):
        save_weights(run.path / "last.safetensors", state.learner.network.state_dict())
    not_selected = plan.selection is None or last_is_kept
    outputs = reloaded.outputs(plan, state.learner.network, epoch) if not_selected else None
    module = plan.network_with(run.file("best.safetensors"))
    score_held_out(run, plan, module, epoch)
    if (held_out := run.scores.get("fold")) is not None:
        yield lines.held_out(held_out)
    arrays = {} if state.probe is None else state.probe.arrays
    if (filters := first_layer_filters(module)) is not None:
        arrays = arrays | {"first_layer_filters": filters}
    if arrays:
        write_arrays(run.path / "arrays.npz", arrays)
    if test and plan.prepared.test is not None:
        yield open_test(run, plan, module, workspace, epoch=epoch)
    if outputs is not None:
        difference = reloaded.difference(outputs, reloaded.outputs(plan, module, epoch))
    else:
        difference = reloaded.difference_since_selection(run, plan, state.best_outputs)
    if difference is not None:
        add_flag(run, difference.sentence)
    yield from (note for note in (*run.status.flags, *lines.chance_levels(run)) if note not in flags)
    state.update_total_seconds()
    measure_cost(run, plan, module, ledger, peak.bytes())
    run.write_score("train", score_training(plan, module))  # last: not part of the run's cost


def close(state: TrainingState, rule: StopRule, sentence: str) -> None:
    run, ledger = state.run, state.ledger
    epochs = len(run.metrics)
    run.finish(reason=sentence, stopped=rule.name, epochs=epochs, steps=ledger.step, best_epoch=ledger.best_epoch)
    delete_checkpoints(run)


def delete_checkpoints(run: Run) -> None:
    """Deletes the checkpoints: with the optimizer's state, they are several times as large as the weights."""
    for _attempt in range(2):  # tried twice, because another program may have a file open
        shutil.rmtree(run.path / "checkpoints", ignore_errors=True)


def kept_epoch(plan: Plan, best_epoch: int, steps: int) -> int:
    """Returns the epoch (from 1) whose weights are kept."""
    per_epoch = steps_per_epoch(len(plan.prepared.train), plan.recipe.train.batch_size)
    return 1 + (steps - 1) // per_epoch if plan.recipe.protocol.keeps_last(best_epoch) else best_epoch


def describe_data(plan: Plan, openings: int) -> RunData:
    prepared = plan.prepared
    parts = {name: getattr(prepared, name) for name in ("train", "validation", "fold", "test")}
    per_class = {name: part.class_counts for name, part in parts.items() if part is not None}
    return RunData(
        name=prepared.name,
        classes=prepared.classes,
        in_chans=prepared.in_chans,
        image_size=prepared.image_size,
        counts={name: sum(counts) for name, counts in per_class.items()},
        per_class=per_class,
        data_hash=prepared.data_hash,
        split_hash=prepared.split_hash,
        parts_hash=prepared.parts_hash,
        mean=prepared.mean,
        std=prepared.std,
        limit=prepared.limit,
        notes=prepared.notes,
        test_openings=openings,
        selection=plan.selection,
    )


def copy_code(run: Run, plan: Plan) -> None:
    """Copies a user's class and the local modules that it imports to code/."""
    if not plan.sources:
        return
    folder = run.path / "code"
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    root = plan.sources[0].parent  # local modules are in this folder or below
    files = {source.relative_to(root).as_posix(): source.read_bytes() for source in plan.sources}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    remember_code(run, RunCode(folder, files))


def score_held_out(run: Run, plan: Plan, module: nn.Module, epoch: int) -> None:
    """Scores the validation set, as split in this epoch (from 1), and the fold. The gallery shows the fold, if any.

    These images were not trained on, except with the fault resplit_every_epoch.
    """
    prepared = plan.prepared
    samples = _samples(prepared.train)
    write_arrays(run.path / "gallery.npz", samples)
    for part, images in (("validation", plan.validation_in(epoch)), ("fold", prepared.fold)):
        if images is not None:
            scored = _score_part(run, plan, module, part, images, epoch=epoch)
            run.write_score(part, scored.score)
    if prepared.fold is not None:
        index = prepared.split.fold[: len(scored.images)]
        write_arrays(run.path / "predictions.npz", {**run.predictions, "fold_index": index})


def open_test(run: Run, plan: Plan, module: nn.Module, workspace: Workspace, *, epoch: int) -> str:
    """Opens the test set, records the opening and scores the weights of this epoch. Returns the console line."""
    test = plan.prepared.test
    assert test is not None
    openings: list[int] = []
    images = test.open(lambda digest: openings.append(workspace.record_opening(digest, run.name)))
    scored = _score_part(run, plan, module, "test", images, epoch=epoch)
    run.update("data.json", test_openings=openings[0])
    run.write_score("test", scored.score)  # written last: a run with this score is not scored again
    return lines.opened(scored.score, openings[0])


def first_layer_filters(module: nn.Module) -> np.ndarray | None:
    """Returns the weights of the first convolution, float32 [F, C, h, w]; None without a convolution."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return None if first is None else first.weight.detach().float().cpu().contiguous().numpy().copy()


def measure_cost(run: Run, plan: Plan, module: nn.Module, ledger: Ledger, peak_bytes: int) -> None:
    shape = (plan.prepared.in_chans, plan.prepared.image_size, plan.prepared.image_size)
    flops, latency = cost.flops_per_image(module, shape), cost.ms_per_image(module, shape)
    measured = Cost(
        parameters=cost.parameters(module),
        flops_per_image=reported_flops(flops, plan),
        macs_per_image=flops // 2,
        train_seconds=ledger.train_seconds,
        total_seconds=ledger.total_seconds,
        images_per_second=ledger.images_per_second,
        peak_memory_bytes=peak_bytes,
        ms_per_image=latency.median,
        ms_per_image_quartiles=(latency.lower, latency.upper),
    )
    write_json(run.path / "cost.json", asdict(measured))


def reported_flops(flops: int, plan: Plan) -> int:
    return flops // 2 if Fault.MACS_AS_FLOPS in plan.recipe.protocol.faults else flops


def _score_part(run: Run, plan: Plan, module: nn.Module, part: str, images: ImageSet, *, epoch: int) -> ScoredPart:
    """Scores a part and writes its predictions and images for the report.

    Predicted classes are written only if they differ from the argmax of the logits.
    """
    scored = score_part(plan, module, part, images, epoch=epoch)
    arrays = {f"{part}_logits": scored.logits, f"{part}_labels": scored.images.labels}
    if not np.array_equal(scored.predicted, scored.logits.argmax(axis=1)):
        arrays[f"{part}_predicted"] = scored.predicted
    groups = plan.prepared.groups.get(part)
    if groups is not None and not (part == "validation" and plan.resplit is not None):
        arrays[f"{part}_groups"] = groups[: len(scored.images)]
    write_arrays(run.path / "predictions.npz", {**run.predictions, **arrays})
    _save_gallery(run, scored, plan.recipe.seed)
    if count := scored.score.not_finite:
        add_flag(run, lines.not_finite(part, count, len(scored.images)))
    return scored


def add_flag(run: Run, flag: str) -> None:
    """Adds a sentence that is shown in all output of this run."""
    run.write_status(flags=[*(other for other in run.status.flags if other != flag), flag])


def _samples(images: ImageSet) -> dict[str, np.ndarray]:
    """Returns the first ten training images of each class, for at most 20 classes."""
    classes = range(min(len(images.classes), 20))
    indices = np.concatenate([np.flatnonzero(images.labels == index)[:SAMPLES_PER_CLASS] for index in classes])
    return {"samples_images": images.images[indices], "samples_labels": images.labels[indices]}


def _save_gallery(run: Run, scored: ScoredPart, seed: int) -> None:
    """Saves random images and the hardest images, with predictions."""
    images, predicted = scored.images, scored.predicted
    rng = np.random.default_rng(derive_seed(seed, "gallery"))
    random_indices = np.sort(rng.choice(len(images), size=min(GALLERY_IMAGES, len(images)), replace=False))
    probs = np.nan_to_num(probabilities(scored.logits))
    confidence = np.take_along_axis(probs, predicted[:, None], axis=1)[:, 0].astype(np.float32)
    arrays: dict[str, np.ndarray] = {}
    hardest_indices = hardest(scored.logits, images.labels, GALLERY_IMAGES)
    for name, indices in {"predictions": random_indices, "hardest": hardest_indices}.items():
        arrays |= {
            f"{name}_images": images.images[indices],
            f"{name}_labels": images.labels[indices],
            f"{name}_predicted": predicted[indices],
            f"{name}_confidence": confidence[indices],
            f"{name}_index": np.asarray(indices),
        }
    write_arrays(run.path / "gallery.npz", {**run.gallery, **arrays})
