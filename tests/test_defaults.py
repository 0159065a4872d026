"""The defaults of recipes and models, written down: a fingerprint leaves them out, so a run found again relies on them.

Where one of these tests fails because a default was meant to change, raise a revision
(convoy.training.run.revisions), the model's own for one of its options, and write the file again:
`python -m tests.test_defaults`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convoy import models
from convoy.models import MODELS
from convoy.recipe import sections
from convoy.training.run.revisions import RULES, TRAINING_REVISION

WRITTEN = Path(__file__).with_name("defaults.json")


def defaults() -> dict[str, Any]:
    kinds = [
        kind
        for kind in vars(sections).values()
        if isinstance(kind, type) and issubclass(kind, sections.Section) and "mean" not in kind.model_fields
    ]
    return {
        "training_revision": TRAINING_REVISION,
        "sections": {kind.__name__: kind().model_dump(mode="json") for kind in kinds},
        "models": {name: models.default_options(name) for name in sorted(MODELS)},
        "revisions": {name: MODELS[name].revision for name in sorted(MODELS) if MODELS[name].revision > 1},
        "rules": {name: rule.revision for name, rule in RULES.items()},
    }


def test_a_default_changes_only_with_a_revision() -> None:
    written, now = json.loads(WRITTEN.read_text()), defaults()
    for revisions in ("training_revision", "revisions", "rules"):
        assert now[revisions] == written[revisions]
    for topic in ("sections", "models"):
        for name, values in written[topic].items():
            kept = {key: now[topic].get(name, {}).get(key) for key in values}
            assert kept == values, f"{topic} {name}"


def test_every_default_is_written_down() -> None:
    written, now = json.loads(WRITTEN.read_text()), defaults()
    for topic in ("sections", "models"):
        assert {name: set(values) for name, values in now[topic].items()} == {
            name: set(values) for name, values in written[topic].items()
        }


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps(defaults(), indent=1) + "\n")
