"""Trains and scores a network for each fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from convoy.data import prepare
from convoy.events import OpenTest
from convoy.files import file_name, write_arrays
from convoy.recipe import Recipe
from convoy.runs import Member, Study
from convoy.studies import findings
from convoy.studies.crossval.finding import FOLD, conclude, fold_label
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import study_name, train_all, write_study
from convoy.text import gettext as _

MANY_FOLDS = 100
OPENS_TEST: OpenTest = False


def run(recipe: Recipe, session: Session, *, folds: int, repeats: int, label: str | None = None) -> Study | None:
    """Trains the missing folds. Returns None if interrupted; the same call resumes.

    `label`: the recipe's label, by default the name of its model. All folds are checked before training: raises
    ValueError for a recipe that cannot be trained and for impossible folds.
    """
    entries = entries_of(recipe, folds, repeats)
    label = label or recipe.label
    name = partial(study_name, "crossval", [f"{file_name(label)}-{folds}{f'x{repeats}' if repeats > 1 else ''}"])
    members = train_all(entries, replace(session, test=OPENS_TEST), name=name)
    if members is None:
        return None
    study = write_study("crossval", name, members, session)
    write_arrays(study.path / "oof.npz", out_of_fold(members))
    findings.write(study, conclude(label, members))
    return study


def entries_of(recipe: Recipe, folds: int, repeats: int) -> list[Entry]:
    """Creates a recipe for each fold of each repeat. Repeats differ in folds and seed. Raises ValueError."""
    if folds < 2 or repeats < 1:
        raise ValueError(
            _("expected 2 folds and 1 repeat or more, got {folds} and {repeats}", folds=folds, repeats=repeats)
        )
    if folds > MANY_FOLDS:  # fails early if there are fewer images than folds
        prepare(recipe.override({"data.split.folds": folds}).data)
    entries = []
    for repeat, fold in product(range(repeats), range(folds)):
        split = {"data.split.folds": folds, "data.split.fold": fold, "data.split.repeat": repeat}
        of_fold = recipe.override({"seed": recipe.seed + repeat, **split})
        entries.append(Entry(fold_label(fold, folds, repeat, repeats), of_fold))
    return entries


def out_of_fold(members: Sequence[Member]) -> dict[str, np.ndarray]:
    """Returns the predictions for each image by the network not trained on it, ordered by repeat, then image.

    With M = images x repeats: repeat, fold (both from 0), index (of the image among the training images), labels,
    predicted: int64 [M]; logits: float32 [M, classes], if all runs have them.
    """
    parts: list[dict[str, np.ndarray]] = []
    for member in members:
        labels, predicted = member.run.predicted(FOLD)
        split, arrays = member.run.recipe.data.split, member.run.predictions
        index, logits = (arrays.get(f"{FOLD}_{name}") for name in ("index", "logits"))
        assert index is not None
        repeat, fold = (np.full(len(labels), number) for number in (split.repeat, split.fold))
        part = {"repeat": repeat, "fold": fold, "index": index.astype(np.int64)}
        part |= {"labels": labels, "predicted": predicted}
        parts.append(part if logits is None else {**part, "logits": logits})
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in shared}
    order = np.lexsort((joined["index"], joined["repeat"]))
    return {name: values[order] for name, values in joined.items()}
