from __future__ import annotations

import json
from pathlib import Path

import pytest

import convoy
from convoy import cli
from convoy.runs import Workspace
from convoy.studies import kinds
from convoy.studies.search.finding import Pruner, Sampler


@pytest.fixture
def quick(stripes: Path, net: Path) -> list[str]:
    words = f"search {net}:Tiny --data {stripes} --epochs 1 --compute.threads 1 --seeds 1 --no-test --out out"
    return words.split()


@pytest.mark.usefixtures("words_alone")
def test_search_prints_its_finding_and_the_path_of_its_report(quick, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)

    cli.main([*quick, "--grid", "optim.lr=1e-5,1e-2", "--json"])

    answer = json.loads(capfd.readouterr().out)
    trials = {trial["number"]: trial["params"] for trial in answer["finding"]["trials"]}
    assert trials[answer["finding"]["winner"]] == {"optim.lr": 1e-2}
    assert Path(answer["report"]).is_file()
    assert (Path(answer["study"]) / "winner.toml").is_file()


@pytest.mark.usefixtures("words_alone")
def test_python_function_takes_mappings(stripes, net, tmp_path) -> None:
    study = convoy.search(
        f"{net}:Tiny",
        data=str(stripes),
        grid={"train.batch_size": [30, 60]},
        range={"optim.lr": (1e-3, 1e-1)},
        trials=2,
        seeds=1,
        epochs=1,
        out=tmp_path,
        test=False,
        show=False,
    )

    method = kinds.finding_of(study).method
    assert (method.grid, method.requested) == (False, 2)
    assert (method.sampler, method.pruner) == (Sampler.TPE, Pruner.HYPERBAND)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--grid optim.lrr=1,2",
            "unknown key 'optim.lrr'; did you mean 'optim.lr'",
        ),
        ("--grid optim.lr=1e-3,fast", "optim.lr = 'fast'"),
        ("--range optim.lr=1e-4..1e-1", "a range has no full grid: use --trials, or --grid"),
        ("--grid optim.lr=1e-3,1e-2 --sampler best --trials 3", "unknown sampler 'best'; known: gp, random, tpe"),
        ("", "a search needs a key to vary"),
    ],
)
def test_an_error_is_one_line_and_nothing_is_written(quick, tmp_path, monkeypatch, capfd, words, message) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as stop:
        cli.main([*quick, *words.split()])

    said = capfd.readouterr().err
    assert stop.value.code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not list(Workspace("out").runs())
