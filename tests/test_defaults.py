"""The defaults of recipes and models, as they were: a fingerprint leaves them out, so a run found again relies on them.

A default may change if the revision of its entry is raised (convoy.training.run.revisions, or the row of a model); the
test then writes the new value to defaults.json, like a new entry, and fails once, so that the file is committed too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convoy.models import MODELS
from convoy.recipe import sections
from convoy.training.run.revisions import RULES, TRAINING_REVISION

WRITTEN = Path(__file__).with_name("defaults.json")
Entries = dict[str, dict[str, Any]]  # name -> its revision and its defaults


def entries() -> Entries:
    kinds = [
        kind
        for kind in vars(sections).values()
        if isinstance(kind, type) and issubclass(kind, sections.Section) and "mean" not in kind.model_fields
    ]
    return {
        **{f"section {kind.__name__}": _entry(TRAINING_REVISION, kind().model_dump(mode="json")) for kind in kinds},
        **{f"model {name}": _entry(MODELS[name].revision, MODELS[name].options) for name in MODELS},
        **{f"rule {name}": _entry(rule.revision, {}) for name, rule in RULES.items()},
    }


def _entry(revision: int, defaults: dict[str, Any]) -> dict[str, Any]:
    return {"revision": revision, "defaults": defaults}


def changed_without_revision(written: Entries, now: Entries) -> list[str]:
    """Entries that lack a default or have another one, with the same revision or a lower one."""
    reported = []
    for name, old in written.items():
        new = now.get(name, _entry(0, {}))
        kept = {key: new["defaults"].get(key) for key in old["defaults"]}
        if new["revision"] < old["revision"] or (new["revision"] == old["revision"] and kept != old["defaults"]):
            reported.append(name)
    return reported


def test_a_default_changes_only_with_a_revision() -> None:
    written, now = json.loads(WRITTEN.read_text()), entries()
    assert changed_without_revision(written, now) == []
    if written != now:
        WRITTEN.write_text(json.dumps(now, indent=1) + "\n")
        pytest.fail("tests/defaults.json has the new defaults now: commit it")


OLD = {"model a": _entry(1, {"depth": 3})}


@pytest.mark.parametrize(
    ("new", "changed"),
    [
        (_entry(1, {"depth": 4}), True),
        (_entry(1, {}), True),
        (_entry(2, {"depth": 4}), False),
        (_entry(1, {"depth": 3, "width": 2}), False),
    ],
)
def test_a_changed_default_is_reported_unless_its_revision_is_raised(new: dict[str, Any], changed: bool) -> None:
    assert changed_without_revision(OLD, {"model a": new, "model b": new}) == ["model a"] * changed
