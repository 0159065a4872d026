"""The recorded defaults of recipes and models. Fingerprints omit defaults, so reusing a run relies on equal defaults.

A default may change if the revision of its entry is raised (convoy.training.run.revisions, or the row of a model).
`make schema` then records the new values and entries in defaults.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convoy.models import MODELS
from convoy.recipe import sections
from convoy.training.run.revisions import RULE_REVISIONS, TRAINING_REVISION

RECORDED = Path(__file__).with_name("defaults.json")
Entries = dict[str, dict[str, Any]]  # revision and defaults, by name


def entries() -> Entries:
    kinds = [
        kind
        for kind in vars(sections).values()
        if isinstance(kind, type) and issubclass(kind, sections.Section) and "mean" not in kind.model_fields
    ]
    return {
        **{f"section {kind.__name__}": _entry(TRAINING_REVISION, kind().model_dump(mode="json")) for kind in kinds},
        **{f"model {name}": _entry(MODELS[name].revision, MODELS[name].options) for name in MODELS},
        **{f"rule {name}": _entry(rule.revision, {}) for name, rule in RULE_REVISIONS.items()},
    }


def _entry(revision: int, defaults: dict[str, Any]) -> dict[str, Any]:
    return {"revision": revision, "defaults": defaults}


def changed_without_revision(recorded: Entries, current: Entries) -> list[str]:
    """Entries with a changed or missing default whose revision was not raised."""
    names = []
    for name, old in recorded.items():
        new = current.get(name, _entry(0, {}))
        defaults = {key: new["defaults"].get(key) for key in old["defaults"]}
        if new["revision"] < old["revision"] or (new["revision"] == old["revision"] and defaults != old["defaults"]):
            names.append(name)
    return names


def test_a_default_changes_only_with_a_revision() -> None:
    recorded, current = json.loads(RECORDED.read_text()), entries()
    assert changed_without_revision(recorded, current) == []
    assert recorded == current, "`make schema` records new defaults and revisions"


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


if __name__ == "__main__":
    names = changed_without_revision(json.loads(RECORDED.read_text()), entries())
    if names:
        raise SystemExit(f"a default changed, but not the revision, of {', '.join(names)}")
    RECORDED.write_text(json.dumps(entries(), indent=1) + "\n")
    print(RECORDED)
