"""Digests by which a reproduction finds the results of an earlier call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version

from convoy.experiments.experiment import ExperimentStudy, label_of
from convoy.recipe import Recipe
from convoy.training.run.revisions import TRAINING_REVISION


def digest(*inputs: object) -> str:
    """Returns a hash of a finding's inputs (as JSON) and of the version of Convoy."""
    covered = json.dumps([inputs, TRAINING_REVISION, version("convoy-ml")], sort_keys=True)
    return hashlib.sha256(covered.encode()).hexdigest()[:16]


def of_recipes(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Returns a digest of each recipe, by its name. Used instead of the run's fingerprint, which needs the data."""
    return {name: digest(recipe.canonical()) for name, recipe in recipes.items()}


def of_study(section: ExperimentStudy, fingerprints: Mapping[str, str], *, quick: bool) -> str:
    """Returns a hash of a study within the experiment. `fingerprints`: those of its recipes."""
    named = [[label_of(name), fingerprints[name]] for name in section.recipes]
    more = [section.set] if section.set else []
    arguments = section.typed_arguments(quick=quick).model_dump(mode="json", by_alias=True)
    return digest(section.kind, named, {key: value for key, value in arguments.items() if value != {}}, *more)
