from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.api.arguments import named_recipes, recipe_of
from convoy.recipe import Recipe, resolve
from convoy.recipe.files import builtin_names, parse_override, parse_values
from convoy.recipe.sections import SGD, AdamW, CrossEntropy


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_recipe_is_equal_after_a_toml_round_trip(tmp_path: Path) -> None:
    recipe = Recipe.load("resnet-mnist/corrected", [("data.size", 32), ("data.normalise", [0.1, 0.3])])
    assert Recipe.load(write(tmp_path / "r.toml", recipe.to_toml())) == recipe


def test_chain_of_extends_merges_tables_and_replaces_lists(tmp_path: Path) -> None:
    write(tmp_path / "a.toml", 'seed = 1\n[data]\naugment = [{ name = "flip" }]\n[train]\nepochs = 3\nbatch_size = 7')
    write(tmp_path / "b.toml", 'extends = "a.toml"\n[train]\nepochs = 4')
    recipe = Recipe.load(write(tmp_path / "c.toml", 'extends = "b.toml"\n[data]\naugment = [{ name = "rotate" }]'))
    assert (recipe.seed, recipe.train.epochs, recipe.train.batch_size) == (1, 4, 7)
    assert recipe.data.augment == ({"name": "rotate"},)


def test_recipe_of_an_archived_run_may_have_an_empty_table_expected(tmp_path: Path) -> None:
    assert Recipe.load(write(tmp_path / "a.toml", "seed = 3\n[expected]\n")).seed == 3
    with pytest.raises(ValueError, match="unknown key 'expected'"):
        Recipe.load(write(tmp_path / "b.toml", "[expected]\ntest_accuracy = 0.9\n"))


def test_circular_extends_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.toml", 'extends = "b.toml"')
    write(tmp_path / "b.toml", 'extends = "a.toml"')
    with pytest.raises(ValueError, match="a -> b -> a"):
        Recipe.load(str(tmp_path / "a.toml"))


def test_another_optimizer_removes_the_keys_of_the_old_one() -> None:
    recipe = Recipe.load("defaults/mnist", [("optim.momentum", 0.5), ("optim.name", "sgd")])
    assert recipe.optim == SGD(momentum=0.5)


def test_another_model_removes_the_options_of_the_old_one(tmp_path: Path) -> None:
    base = Recipe.load("defaults/mnist", [("model.options.activation", "relu")])
    assert base.override({"model.name": "two_conv_cnn"}).model.options == {}
    assert base.override({"model.name": "lenet"}).model.options == {"activation": "relu"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (("optim.lrr", 1), r"unknown key 'optim.lrr'; did you mean 'optim.lr'"),
        (("seeed", 1), r"unknown key 'seeed'; did you mean 'seed'"),
        (("optim.name", "adamm"), r"unknown optim.name 'adamm'; did you mean 'adam' or 'adamw'"),
        (("optim.lr", -1), r"optim.lr = -1: .* greater than 0"),
        (("optim.lr", float("nan")), r"optim.lr = nan"),
        (("train.epochs", 0), r"train.epochs = 0: .* greater than or equal to 1"),
        (("train.epochs", "many"), r"train.epochs = 'many': .* integer"),
        (("train.epochs.x", 1), r"train.epochs is a value, not a table"),
        (("train.loss.name", "l1"), r"unknown train.loss.name 'l1'; known: cross_entropy, squared_error"),
        (("compute.precision", "flot32"), r"unknown compute.precision 'flot32'; did you mean 'float32'"),
        (("protocol.faults", "last_weights,sampled_labels"), r"""a list: '\["last_weights", "sampled_labels"\]'"""),
        (("protocol.faults", ["last_weights", "last_weights"]), r"'last_weights' is given twice"),
        (("protocol.faults", ["selection_on_tests"]), r"did you mean 'selection_on_test'"),
        (("data.normalise", [0.5, 0.0]), r"data.normalise.*: the standard deviation must be greater than 0"),
        (("data.augment", [{"degrees": 3}]), r"data.augment = "),
        (("data.augment", ["crop"]), "expected a list of tables"),
        (("data.split.validation", 1.0), r"data.split.validation = 1.0: .* less than 1"),
        (("seed", -1), r"seed = -1"),
        (("optim.lr", True), r"optim.lr = True: expected a number"),
        (("train.epochs", True), r"train.epochs = True: expected a number"),
        (("train.clip_norm", False), r"train.clip_norm = False: expected a number"),
        (("compute.threads", True), r"compute.threads = True: expected a number"),
        (("optim.betas", [0.9, True]), r"optim.betas.1 = True: expected a number"),
        (("optim.betas", [0.9]), r"optim\.betas"),
        (("data.normalise", [True, 0.5]), r"data.normalise = "),
    ],
)
def test_error_about_a_value_has_its_key_and_close_matches(override: tuple[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Recipe.load("defaults/mnist", [override])
    assert "\n" not in str(caught.value)


def test_argument_is_a_file_a_class_a_recipe_or_a_model_in_this_order(tmp_path: Path) -> None:
    assert resolve(write(tmp_path / "r.toml", "seed = 9")).seed == 9
    assert resolve("net.py:Net").model.name == "net.py:Net"
    assert resolve("tensor-mnist/corrected").model.name == "two_conv_cnn"
    assert resolve("two_conv_cnn") == Recipe.load("defaults/mnist", [("model.name", "two_conv_cnn")])
    assert resolve("lenet", data="photos/").train.epochs == Recipe.load("defaults/images").train.epochs


def test_last_part_of_a_recipes_name_is_sufficient_if_it_is_unique() -> None:
    labelled = named_recipes(["fast-mnist", "defaults/fast-mnist", "lenet"], {"set": {}})

    assert [label for label, _ in labelled] == ["defaults/fast-mnist", "defaults/fast-mnist", "lenet"]
    assert labelled[0][1] == labelled[1][1] == Recipe.load("defaults/fast-mnist") == Recipe.load("fast-mnist")
    assert labelled[2][1] == resolve("lenet") != Recipe.load("classics-mnist/lenet")
    with pytest.raises(ValueError, match="'corrected'.*resnet-mnist/corrected, tensor-mnist/corrected"):
        named_recipes(["corrected"], {"set": {}})


def test_data_are_a_name_or_a_path() -> None:
    assert recipe_of("lenet", {"set": {}, "data": Path("mnist")}).data.name == "mnist"


def test_named_data_at_a_path_have_the_recipe_of_the_name() -> None:
    assert resolve("lenet", data="mnist=/elsewhere").train == Recipe.load("defaults/mnist").train


@pytest.mark.parametrize("argument", ["tensor-mnist/correct", "absent.toml"])
def test_unknown_argument_is_an_error(argument: str) -> None:
    with pytest.raises(ValueError, match="did you mean 'tensor-mnist/corrected'|does not exist"):
        resolve(argument)


def test_path_in_a_recipe_file_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.py").touch()
    write(tmp_path / "sub" / "r.toml", '[model]\nname = "net.py:Net"')
    monkeypatch.chdir(tmp_path)
    assert Recipe.load("sub/r.toml").model.name == f"{(tmp_path / 'sub' / 'net.py').resolve()}:Net"


def test_paths_of_data_and_groups_are_relative_to_the_recipe_file(tmp_path: Path) -> None:
    for name in ("images.npz", "who.csv", "scans"):
        (tmp_path / name).touch()
    for written, found in {
        "images.npz": tmp_path / "images.npz",
        "cifar10=scans": f"cifar10={tmp_path / 'scans'}",
    }.items():
        write(tmp_path / "r.toml", f'[data]\nname = "{written}"\n[data.split]\ngroup_by = "who.csv"')
        data = Recipe.load(str(tmp_path / "r.toml")).data
        assert (data.name, data.split.group_by) == (str(found), str(tmp_path / "who.csv"))


def test_fingerprint_omits_keys_that_do_not_affect_the_result() -> None:
    recipe = Recipe.load("defaults/mnist")
    same = {"compute.device": "cpu", "compute.threads": 7, "about": "x", "data.name": "elsewhere"}
    for path, value in same.items():
        assert recipe.override({path: value}).canonical() == recipe.canonical(), path
    for path, value in {"optim.lr": 0.1, "seed": 1, "compute.precision": "float64", "data.limit": 10}.items():
        assert recipe.override({path: value}).canonical() != recipe.canonical(), path


def test_toml_nested_too_deeply_is_a_one_line_error(tmp_path: Path) -> None:
    nested = 3000 * "[" + 3000 * "]"
    (tmp_path / "deep.toml").write_text(f"about = {nested}\n")
    with pytest.raises(ValueError, match="deep.toml: not valid TOML"):
        Recipe.load(tmp_path / "deep.toml")
    assert parse_override("optim.lr", nested) == ("optim.lr", nested)
    assert parse_values(f"optim.lr={nested}") == ("optim.lr", [nested])


@given(st.text(max_size=30))
def test_override_is_toml_or_text(text: str) -> None:
    path, value = parse_override("a.b", text)
    assert path == "a.b"
    assert value == text or not isinstance(value, str) or text.strip()[:1] in "\"'"


@pytest.mark.parametrize(
    ("text", "value"), [("3e-4", 3e-4), ("true", True), ("adam", "adam"), ("[1, 2]", [1, 2]), ("5", 5)]
)
def test_override_has_its_toml_type(text: str, value: object) -> None:
    assert parse_override("k", text)[1] == value


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_recipe_loads_and_has_a_description(name: str) -> None:
    recipe = Recipe.load(name)
    assert recipe.about
    assert Recipe.model_validate(recipe.as_table()) == recipe


def test_a_section_without_a_name_is_the_default_one() -> None:
    recipe = Recipe.load("defaults/images", [("train.loss.label_smoothing", 0.1), ("optim.betas", [0.8, 0.9])])
    assert recipe.train.loss == CrossEntropy(label_smoothing=0.1)
    assert recipe.optim == AdamW(betas=(0.8, 0.9))
    with pytest.raises(ValueError, match=r"did you mean 'train.loss.label_smoothing'"):
        Recipe.load("defaults/images", [("train.loss.label_smothing", 0.1)])


def test_error_about_a_long_warm_up_has_both_values() -> None:
    message = r"schedule.warmup_epochs = 3 exceeds train.epochs = 2"
    with pytest.raises(ValueError, match=message) as caught:
        resolve("lenet", overrides=[("schedule.warmup_epochs", 3), ("train.epochs", 2)])
    assert len(str(caught.value)) < 200
    with pytest.raises(ValueError, match=message):
        resolve("lenet").override({"schedule.warmup_epochs": 3, "train.epochs": 2})
    assert resolve("lenet", overrides=[("schedule.warmup_epochs", 2), ("train.epochs", 2)]).train.epochs == 2
    assert resolve("lenet", overrides=[("train.epochs", 1)]).schedule.warmup_epochs < 1
