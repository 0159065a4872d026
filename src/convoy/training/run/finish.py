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
from convoy.training.run.scoring import Scored, score_part, score_training
from convoy.training.run.state import TrainingState
from convoy.training.run.stopping import StopRule

GALLERY_IMAGES = 40
SAMPLES_PER_CLASS = 10


def score_and_describe(state: TrainingState, workspace: Workspace, peak: PeakMemory, *, test: bool) -> Iterator[str]:
    """Scores the kept weights as reloaded from their file, and measures costs; yields console lines."""
    run, ready, ledger = state.run, state.ready, state.ledger
    flags = run.status.flags
    kept = kept_epoch(ready, ledger.best_epoch, ledger.step)
    keeps_last = keeps_the_last(ready, ledger.best_epoch)
    if keeps_last:
        state.keep_best()
    elif ledger.best_epoch < len(run.metrics):
        save_weights(run.path / "last.safetensors", state.learner.network.state_dict())
    not_selected = ready.selection is None or keeps_last
    outputs = reloaded.outputs(ready, state.learner.network, kept) if not_selected else None
    module = ready.network_with(run.file("best.safetensors"))
    score_held_out(run, ready, module, kept)
    if (held_out := run.scores.get("fold")) is not None:
        yield lines.held_out(held_out)
    arrays = {} if state.probe is None else state.probe.arrays
    if (filters := first_layer_filters(module)) is not None:
        arrays = arrays | {"first_layer_filters": filters}
    if arrays:
        write_arrays(run.path / "arrays.npz", arrays)
    if test and ready.prepared.test is not None:
        yield open_test(run, ready, module, workspace, epoch=kept)
    if outputs is not None:
        difference = reloaded.difference(outputs, reloaded.outputs(ready, module, kept))
    else:
        difference = reloaded.since_selection(run, ready, state.best_outputs)
    if difference is not None:
        add_flag(run, difference.sentence)
    yield from (note for note in (*run.status.flags, *lines.chance_levels(run)) if note not in flags)
    state.update_total_seconds()
    measure_cost(run, ready, module, ledger, peak.bytes())
    run.write_score("train", score_training(ready, module))  # last: not part of the run's cost


def close(state: TrainingState, rule: StopRule, sentence: str) -> None:
    run, ledger = state.run, state.ledger
    epochs = len(run.metrics)
    run.finish(reason=sentence, stopped=rule.name, epochs=epochs, steps=ledger.step, best_epoch=ledger.best_epoch)
    # No longer needed; with the optimizer's state they are several times the size of the weights.
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)


def keeps_the_last(ready: Plan, best_epoch: int) -> bool:
    """Whether the last weights are kept: with the fault, or if training stopped within the first epoch."""
    return best_epoch == 0 or Fault.LAST_WEIGHTS in ready.recipe.protocol.faults


def kept_epoch(ready: Plan, best_epoch: int, steps: int) -> int:
    """The epoch whose weights are kept, from 1."""
    per_epoch = steps_per_epoch(len(ready.prepared.train), ready.recipe.train.batch_size)
    return 1 + (steps - 1) // per_epoch if keeps_the_last(ready, best_epoch) else best_epoch


def describe_data(ready: Plan, openings: int) -> RunData:
    prepared = ready.prepared
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
        selection=ready.selection,
    )


def copy_code(run: Run, ready: Plan) -> None:
    """Copies a user's class and the local modules that it imports to code/."""
    if not ready.sources:
        return
    folder = run.path / "code"
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    root = ready.sources[0].parent  # local modules are in this folder or below
    files = {source.relative_to(root).as_posix(): source.read_bytes() for source in ready.sources}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    remember_code(run, RunCode(folder, files))


def score_held_out(run: Run, ready: Plan, module: nn.Module, epoch: int) -> None:
    """Scores the validation part of this epoch (from 1) and the fold; the gallery shows the fold if there is one.

    These images were not trained on, except with the fault resplit_every_epoch.
    """
    prepared = ready.prepared
    samples = _samples(prepared.train)
    write_arrays(run.path / "gallery.npz", samples)
    for part, images in (("validation", ready.validation_in(epoch)), ("fold", prepared.fold)):
        if images is not None:
            scored = _score_part(run, ready, module, part, images, epoch=epoch)
            _keep_gallery(run, scored, ready.recipe.seed)
    if prepared.fold is not None:
        index = prepared.split.fold[: len(scored.images)]
        write_arrays(run.path / "predictions.npz", {**run.predictions, "fold_index": index})


def open_test(run: Run, ready: Plan, module: nn.Module, workspace: Workspace, *, epoch: int) -> str:
    """Opens the test set, counts the opening, scores the weights of this epoch. Returns the console line."""
    test = ready.prepared.test
    assert test is not None
    openings: list[int] = []
    images = test.open(lambda digest: openings.append(workspace.record_opening(digest, run.name)))
    scored = _score_part(run, ready, module, "test", images, epoch=epoch)
    _keep_gallery(run, scored, ready.recipe.seed)
    run.update("data.json", test_openings=openings[0])
    return lines.opened(scored.score, openings[0])


def first_layer_filters(module: nn.Module) -> np.ndarray | None:
    """Weights float32 [F, C, h, w] of the convolution that was constructed first; None if there is none."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return None if first is None else first.weight.detach().float().cpu().contiguous().numpy().copy()


def measure_cost(run: Run, ready: Plan, module: nn.Module, ledger: Ledger, peak_bytes: int) -> None:
    shape = (ready.prepared.in_chans, ready.prepared.image_size, ready.prepared.image_size)
    flops, latency = cost.flops_per_image(module, shape), cost.ms_per_image(module, shape)
    measured = Cost(
        parameters=cost.parameters(module),
        flops_per_image=reported_flops(flops, ready),
        macs_per_image=flops // 2,
        train_seconds=ledger.train_seconds,
        total_seconds=ledger.total_seconds,
        images_per_second=ledger.images_per_second,
        peak_memory_bytes=peak_bytes,
        ms_per_image=latency.median,
        ms_per_image_quartiles=(latency.lower, latency.upper),
    )
    write_json(run.path / "cost.json", asdict(measured))


def reported_flops(flops: int, ready: Plan) -> int:
    return flops // 2 if Fault.MACS_AS_FLOPS in ready.recipe.protocol.faults else flops


def _score_part(run: Run, ready: Plan, module: nn.Module, part: str, images: ImageSet, *, epoch: int) -> Scored:
    """Writes scores and predictions of a part, with the predicted classes if they are not the argmax of the logits."""
    scored = score_part(ready, module, part, images, epoch=epoch)
    arrays = {f"{part}_logits": scored.logits, f"{part}_labels": scored.images.labels}
    if not np.array_equal(scored.predicted, scored.logits.argmax(axis=1)):
        arrays[f"{part}_predicted"] = scored.predicted
    write_arrays(run.path / "predictions.npz", {**run.predictions, **arrays})
    run.write_score(part, scored.score)
    if count := scored.score.not_finite:
        add_flag(run, lines.not_finite(part, count, len(scored.images)))
    return scored


def add_flag(run: Run, flag: str) -> None:
    """Adds a sentence that every output of this run shows."""
    run.write_status(flags=[*(other for other in run.status.flags if other != flag), flag])


def _samples(images: ImageSet) -> dict[str, np.ndarray]:
    """The first training images of each class, at most ten."""
    classes = range(min(len(images.classes), 20))
    indices = np.concatenate([np.flatnonzero(images.labels == index)[:SAMPLES_PER_CLASS] for index in classes])
    return {"samples_images": images.images[indices], "samples_labels": images.labels[indices]}


def _keep_gallery(run: Run, scored: Scored, seed: int) -> None:
    """Saves random images and the hardest images, with predictions."""
    images, predicted = scored.images, scored.predicted
    rng = np.random.default_rng(derive_seed(seed, "gallery"))
    random_indices = np.sort(rng.choice(len(images), size=min(GALLERY_IMAGES, len(images)), replace=False))
    likely = np.nan_to_num(probabilities(scored.logits))
    confidence = np.take_along_axis(likely, predicted[:, None], axis=1)[:, 0].astype(np.float32)
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
