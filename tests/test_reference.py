"""The generated reference has all commands, options, keys, models and public names; examples in docstrings run."""

from __future__ import annotations

import doctest
import inspect
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

import convoy
from convoy import api
from convoy.cli.app import GROUPS, app
from convoy.data.augment import AUGMENTATIONS
from convoy.models import MODELS
from convoy.options import options_of, positional_of
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))
import reference  # noqa: E402

FUNCTIONS = {name: value for name in api.__all__ if inspect.isfunction(value := getattr(api, name))}


def examples_of(name: str) -> str:
    examples = doctest.DocTestParser().get_examples(FUNCTIONS[name].__doc__ or "")
    return "".join(example.source for example in examples)


def keys_of(table: dict[str, object], path: str = "") -> set[str]:
    keys = set()
    for key, value in table.items():
        keys |= keys_of(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}"}
    return keys


@pytest.fixture(scope="module")
def page() -> dict[str, str]:
    return {name: make() for name, make in reference.GENERATORS.items()}


def test_each_generator_is_used_in_one_page() -> None:
    pages = [path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")]
    assert sorted(mark for text in pages for mark in reference.MARK.findall(text)) == sorted(reference.GENERATORS)


def test_commands_have_all_commands_and_options(page: dict[str, str]) -> None:
    sections = dict(section.split("\n", 1) for section in page["commands"].split("## convoy ")[1:])
    names = [name for name in app if name not in ("--help", "-h", "--version")] + [
        f"{group.name[0]} {n}" for group in GROUPS for n in group if n[0] != "-"
    ]
    assert {title.strip() for title in sections} == {*names}
    for name, function in FUNCTIONS.items():
        section = sections.get(name.replace("_", "-") if name != "data_sheet" else "data show", "")
        for option_name, option in options_of(function).items() if section else ():
            if option.flag.name is not None:
                assert f"`{option.flag.name or '--' + option_name.replace('_', '-')}" in section, (name, option_name)


def test_reference_has_all_recipe_keys(page: dict[str, str]) -> None:
    sections = {}
    for section in page["recipe_keys"].split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        sections[title.strip("[]")] = text
    sections[""] = page["recipe_keys"].partition("\n## ")[0]
    for path in keys_of(Recipe().model_dump()):
        section, _, key = path.rpartition(".")
        is_choice = key == "name" and section in ("optim", "schedule", "train.loss")
        assert (f'{section}.name = "' if is_choice else f"| `{key}` |") in sections[section], path


def test_all_keys_and_augmentations_are_described(page: dict[str, str]) -> None:
    rows = [row for name in ("recipe_keys", "augmentations") for row in page[name].splitlines() if row[:3] == "| `"]
    assert [row for row in rows if not row.split(" | ")[1].strip()] == []
    assert all(f'name = "{name}"' in page["augmentations"] for name in AUGMENTATIONS)


def test_reference_has_all_models_with_source_and_options(page: dict[str, str]) -> None:
    for name in MODELS:
        entry = MODELS[name]
        assert f"| `{name}` | {entry.summary} | {entry.parameters:,} |" in page["models"]
        assert all(f"| `{option}` |" in page["models"] for option in entry.options)
    families = page["models"].split("\n## ")
    assert len(families) == len({MODELS[name].defined_in.partition(".")[0] for name in MODELS})
    assert all("https://" in family or "http://" in family for family in families)


def test_measured_scores_agree_with_the_archive(page: dict[str, str]) -> None:
    """97.23 ± 0.17, standard deviation 0.37, n = 20, as in docs/results/reproductions.md."""
    assert "| `classics-mnist/lenet` | mnist | 5 | 97.23 ± 0.17 | 0.37 | 20 |" in page["models"]


def test_each_fault_has_its_effect_and_its_publication(page: dict[str, str]) -> None:
    rows = {row.split(" | ")[0].strip("| `"): row for row in page["faults"].splitlines()[2:]}
    assert [*rows] == [fault.value for fault in Fault]
    assert all(rows[fault.value].lower().count(fault.info.sentence().lower()) == 1 for fault in Fault)
    assert rows["last_weights"].endswith("-course, classics-mnist |")
    assert "Requires" in rows["last_weights"]


def test_members_of_an_enum_have_the_comments_of_the_source(page: dict[str, str]) -> None:
    (verdicts,) = re.findall(r"## Verdict\n\nThe result of a comparison.*?(?=## )", page["result_types"], re.DOTALL)
    assert '| `NO_EFFECT` | `"no_effect"` | No effect larger than the margin of the claim |' in verdicts


def test_reference_has_all_public_names(page: dict[str, str]) -> None:
    text = page["functions"] + page["result_types"] + (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    assert [name for name in dir(convoy) if f"convoy.{name}" not in text and f"## {name}\n" not in text] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_has_parameters_result_errors_and_an_example(name: str) -> None:
    text = FUNCTIONS[name].__doc__ or ""
    titles = ("Parameters", "Returns", "Raises", "Examples")
    assert [text.count(f"    {title}\n    ---") for title in titles] == [1] * 4
    positional = [parameter.name for parameter in positional_of(FUNCTIONS[name])]
    for parameter_name in [*positional, *options_of(FUNCTIONS[name])]:
        assert f"\n    {parameter_name}\n        " in text
    assert f"convoy.{name}(" in examples_of(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an image; the examples share its runs."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "digits").mkdir()
    stroke = Image.new("L", (28, 28))
    stroke.paste(255, (13, 4, 16, 24))
    stroke.save(folder / "digits" / "one.png")
    return folder


@pytest.mark.usefixtures("words_alone")
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "reproduce"])  # it takes 50 s
def test_example_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    example = re.sub(r'(limit"?[=:] ?)500', r"\g<1>100", examples_of(name))
    if name == "ladder":  # has the most runs
        example = example.replace("seeds=2", "seeds=1")
    exec(compile(example, name, "exec"), {"convoy": convoy})
