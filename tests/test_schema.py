"""The JSON schema of recipes is that of the code, and editors find it; it accepts what Convoy accepts."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from convoy.recipe import Recipe
from convoy.recipe.files import builtin_names

ROOT = Path(__file__).parents[1]
RECIPES = Path(str(resources.files("convoy") / "recipes"))
BUILTIN = [RECIPES / f"{name}.toml" for name in builtin_names()]
ARCHIVED = sorted((ROOT / "docs" / "results" / "runs").glob("*/recipe.toml"))
SCHEMA = json.loads((RECIPES / "schema.json").read_text(encoding="utf-8"))
sys.path.insert(0, str(ROOT / "docs"))
import make_schema  # noqa: E402


def keys_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, bool]]:
    """The path of each key that takes a value, and whether it has a description."""
    for key, value in schema.get("properties", {}).items():
        forms = [value, *value.get("anyOf", ())]
        tables = [form for form in forms if "properties" in form]
        entries = value["items"].get("anyOf", ()) if isinstance(value.get("items"), dict) else ()
        for table in (*tables, *entries):
            yield from keys_of(table, f"{path}{key}.")
        if "const" not in value and not tables:
            yield f"{path}{key}", "description" in value or all("description" in form for form in forms[1:])


def problems(text: str) -> list[str]:
    """Returns where a recipe violates the schema."""
    jsonschema = pytest.importorskip("jsonschema")
    return [error.json_path for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(tomllib.loads(text))]


def test_shipped_schema_agrees_with_the_code() -> None:
    """`make schema` renews it."""
    assert json.loads(make_schema.text()) == SCHEMA


def test_it_is_a_valid_schema_without_references() -> None:
    pytest.importorskip("jsonschema").Draft7Validator.check_schema(SCHEMA)
    assert '"$ref"' not in json.dumps(SCHEMA)  # Taplo would ignore a description next to one


def test_each_key_has_a_description() -> None:
    keys = list(keys_of(SCHEMA))
    assert {"extends", "seed", "train.batch_size", "optim.momentum", "data.augment", "data.augment.degrees"} < {
        path for path, _ in keys
    }
    assert [path for path, is_described in keys if not is_described] == []


@pytest.mark.parametrize("path", BUILTIN, ids=lambda path: path.stem)
def test_first_line_of_a_built_in_recipe_leads_to_the_schema(path: Path) -> None:
    directive, _, target = path.read_text(encoding="utf-8").splitlines()[0].partition(" ")
    assert directive == "#:schema"
    assert (path.parent / target).resolve() == (RECIPES / "schema.json").resolve()


@pytest.mark.parametrize("path", [*BUILTIN, *ARCHIVED], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_built_in_and_archived_recipes_are_valid(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        'extends = "fast-mnist"',
        'extends = "../mine.toml"\n[optim]\nmomentum = 0.5',  # the inherited optimizer may have it
        "[train.loss]\nlabel_smoothing = 0.1",
        '[model]\nname = "nets/net.py:Net"\nfreeze = "all-but-head"',
        '[model]\nname = "net.py"\noptions = { width = 2, norm = "batch" }',
        '[model]\nname = "timm:resnet18"\noptions = { pretrained = true }',
        '[data]\nname = "hf:ylecun/mnist"',
        '[data]\nname = "cifar10=downloads/cifar"\nnormalise = [[0.5, 0.5, 0.5], 1]',
        '[data]\naugment = [{ name = "rotate", degrees = 10 }, { name = "crop" }]',
        '[compute]\ndevice = "cuda:1"\nthreads = 2',
        '[protocol]\nfaults = "last_weights"',
        '[train]\nclass_weights = [1, 2.5]\n[schedule]\nname = "plateau"\nfactor = 0.5',
    ],
)
def test_every_form_that_convoy_reads_is_valid(text: str) -> None:
    table = tomllib.loads(text)
    if table.pop("extends", None) is None and table.get("model", {}).get("name") != "timm:resnet18":
        Recipe.model_validate(table)
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sead = 1", "$"),
        ("[train]\nepoch = 3", "$.train"),
        ("[train]\nepochs = 0", "$.train.epochs"),
        ("[train]\nepochs = 1.5", "$.train.epochs"),
        ("[optim]\nlearning_rate = 0.1", "$.optim"),
        ('[optim]\nname = "sgdd"', "$.optim"),
        ('[optim]\nname = "adam"\nmomentum = 0.9', "$.optim"),
        ("[optim]\nlr = 0.0", "$.optim"),
        ('[model]\nname = "lenett"', "$.model.name"),
        ('[data]\naugment = [{ name = "rotate", degree = 10 }]', "$.data.augment[0]"),
        ("[data]\naugment = [{ degrees = 10 }]", "$.data.augment[0]"),
        ('[protocol]\nfaults = ["last_weight"]', "$.protocol.faults"),
        ('extends = "default/mnist"', "$.extends"),
    ],
)
def test_a_misspelt_key_name_or_value_is_invalid(text: str, path: str) -> None:
    assert problems(text) == [path]
