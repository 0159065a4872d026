"""Options are declared once: they are keywords of a function, and flags of its command with their help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convoy import api
from convoy.cli.app import GROUPS, app
from convoy.cli.guesses import _WORDS
from convoy.cli.main import main
from convoy.options import ARGUMENTS, KEYS, options_of, positional_of
from convoy.recipe import Recipe

FUNCTIONS = {name: value for name in api.__all__ if inspect.isfunction(value := getattr(api, name))}
COMMANDS = {name.replace("_", "-"): function for name, function in FUNCTIONS.items()}
COMMANDS["data show"] = COMMANDS.pop("data-sheet")
WITHOUT_COMMAND = {"check-claim", "finding", "load"}
NAMES = [
    *(name for name in app if not name.startswith("-") and name not in {group.name[0] for group in GROUPS}),
    *(f"{group.name[0]} {name}" for group in GROUPS for name in group if not name.startswith("-")),
]


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_each_option_is_in_signature_and_docstring(function: Callable[..., Any]) -> None:
    options, parameters = options_of(function), inspect.signature(function).parameters
    assert all(option.flag.help.endswith(".") for option in options.values())
    assert {name: parameters[name].default for name in options} == {n: o.default for n, o in options.items()}
    for parameter in positional_of(function):
        assert ARGUMENTS[parameter.name] in (function.__doc__ or "")


def test_each_function_has_a_command() -> None:
    assert COMMANDS.keys() - WITHOUT_COMMAND <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_an_example_and_describes_each_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*name.split(), "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"Example: convoy {name} " in text or f"Example: convoy {name} ╭" in text
    for option_name, option in options_of(COMMANDS[name]).items() if name in COMMANDS else ():
        if option.flag.name is not None:
            assert (option.flag.name or f"--{option_name.replace('_', '-')}") in text
            assert option.flag.help.replace("`", "")[:40] in text
            if isinstance(option.default, int) and option.default is not False:
                assert f"[default: {option.default}]" in text
    assert "[default: False]" not in text


def test_keys_of_flags_and_guesses_are_recipe_keys() -> None:
    recipe = Recipe().override({"optim.name": "sgd"})
    for key in {*KEYS.values(), *_WORDS} - {"model.options.drop_rate", "model.options.pretrained"}:  # of some models
        section: Any = recipe
        for name in key.partition(" ")[0].split("."):
            assert hasattr(section, name), key
            section = getattr(section, name)


def test_error_about_an_unknown_option_names_the_closest_one() -> None:
    with pytest.raises(TypeError, match=r"'epcohs' in train\(\); did you mean 'epochs'"):
        api.train("lenet", epcohs=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_file_name_as_folder_of_runs_is_an_error(function: Callable[..., Any], tmp_path: Path) -> None:
    assert "out" in options_of(function)
    with pytest.raises(ValueError, match=r"figure\.png: expected a folder"):
        function(out=tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())


class _Other: ...


_EXAMPLES: dict[str, Any] = {"recipes": ["lenet"], "claim": {}}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_argument_of_another_type_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    function, out = FUNCTIONS[name], tmp_path / "out"
    positional = [parameter.name for parameter in positional_of(function)]
    valid = [_EXAMPLES.get(each, "lenet") for each in positional]
    for place, each in enumerate(positional):
        with pytest.raises(ValueError, match=f"^{each} = .*: expected .*, got _Other"):
            function(*valid[:place], _Other(), *valid[place + 1 :], out=out)
    for each in options_of(function):
        with pytest.raises(ValueError, match=f"^{each} = .*: expected .*, got _Other"):
            function(*valid, **{"out": out, each: _Other()})
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("seeds", "two", r"^seeds = 'two': expected an integer, got str$"),
        ("seeds", True, r"^seeds = True: expected an integer, got bool$"),
        ("epochs", 2.0, r"^epochs = 2\.0: expected an integer or None, got float$"),
        ("lr", "0.1", r"^lr = '0\.1': expected a number or None, got str$"),
        ("fresh", 1, r"^fresh = 1: expected True or False, got int$"),
        ("show", "stdout", r"^show = 'stdout': expected True or False or 'stderr', got str$"),
        ("vary", {"optim.lr": 0.1}, r"^vary\['optim\.lr'\] = 0\.1: expected a list, got float$"),
        ("data", np.zeros((3, 3)), r"^data = .*: expected a string, a path or None, got ndarray; .*ImageClassifier"),
    ],
)
def test_error_about_a_type_names_option_value_and_expected_types(option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        api.compare(["lenet"], **{option: value})


def test_one_name_instead_of_a_list_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^recipes = 'lenet': expected a list or a mapping, got str$"):
        api.compare("lenet")


def test_options_may_be_values_of_numpy_and_arguments_may_be_named(tmp_path: Path) -> None:
    recipe = Recipe.load("lenet")
    with pytest.raises(ValueError, match="^seeds = 1: a spread needs at least 2$"):  # after all types were accepted
        api.seeds(
            recipe=recipe,
            seeds=np.int64(1),
            lr=np.float32(0.1),
            fresh=np.bool_(True),
            difference=np.array([0.2]),
            out=np.str_(tmp_path),
        )


def test_error_about_a_missing_option_names_it() -> None:
    with pytest.raises(TypeError, match="lrs"):
        api.landscape(["lenet"])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("function", "name", "cli_type"),
    [
        (api.train, "epochs", int | None),
        (api.train, "init", str | None),
        (api.train, "fresh", bool),
        (api.train, "out", Path | None),
        (api.search, "grid", Sequence[str]),
        (api.seeds, "difference", Sequence[float]),
        (api.landscape, "lrs", str | None),
    ],
)
def test_command_line_has_one_type_per_option(function: Callable[..., Any], name: str, cli_type: Any) -> None:
    assert options_of(function)[name].cli_type == cli_type
