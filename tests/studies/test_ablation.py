from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.fake_runs import fake_run

from convoy import api
from convoy.cli.main import main
from convoy.files import write_json
from convoy.recipe import Recipe
from convoy.recipe.files import parse_values
from convoy.reporting.canvas import draw_chart
from convoy.runs import Member, Study
from convoy.studies import kinds
from convoy.studies.compare.ablation import Ablation, Design, Effect, combine, conclude
from convoy.studies.compare.finding import conclude as compare
from convoy.studies.compare.words import caveats, sentence
from convoy.verifying.result import State
from convoy.verifying.study import verify_finding

BASE = Recipe.load("defaults/mnist")
NORMS, BATCHES = ("batch", "none"), ("64", "128")
DESIGN = Design(
    ("norm", "batch_size"),
    (NORMS, BATCHES),
    {f"{norm}, {size}": (norm, size) for norm, size in product(NORMS, BATCHES)},
)


def members(out: Path, accuracy: Callable[[str, str, int], float], seeds: int = 3) -> list[Member]:
    """Runs of DESIGN whose test accuracy, of 10,000 images, is a function of norm, batch size and seed."""
    found = []
    for label, (norm, size) in DESIGN.levels.items():
        for seed in range(seeds):
            run = fake_run(out, f"{norm}_{size}", seed=seed)
            correct = round(10_000 * accuracy(norm, size, seed))
            write_json(
                run.path / "scores.json", {"test": {"accuracy": correct / 10_000, "correct": correct, "n": 10_000}}
            )
            found.append(Member(label, seed, run))
    return found


def additive(norm: str, size: str, seed: int) -> float:
    return 0.9 + 0.02 * (norm == "batch") + 0.01 * (size == "64") + 0.003 * seed + 0.0004 * seed * (norm == "batch")


def effect(finding: Ablation, key: str) -> Effect:
    (effect,) = [each for each in finding.effects if each.key == key]
    return effect


def test_a_quick_try_has_effects_and_no_verdict(tmp_path: Path) -> None:
    found = members(tmp_path, additive)
    for member in found:
        member.run.update("data.json", limit=100)
    text = sentence(compare(found, DESIGN))
    assert "none (2.04 ± 0.10 points)" in text
    assert "no verdict" in text
    assert "beats" not in text


def test_every_combination_has_a_label_with_the_varied_values() -> None:
    varied = {"model.options.norm": ["batch", "none"], "train.batch_size": [64, 128, 256]}
    design, points = combine([("net", BASE)], varied)
    labels = [label for label, _ in points]
    assert labels[0] == "net, norm = batch, batch_size = 64"
    assert len(set(labels)) == 6
    assert design.levels[labels[-1]] == ("none", "256")
    assert points[-1][1].train.batch_size == 256
    assert points[-1][1].model.options == {"norm": "none"}


def test_several_recipes_are_a_separate_key() -> None:
    design, points = combine([("a", BASE), ("b", BASE)], {"train.batch_size": [64, 128]})
    assert design.keys == ("recipe", "batch_size")
    assert [design.levels[label] for label, _ in points] == [("a", "64"), ("a", "128"), ("b", "64"), ("b", "128")]


@pytest.mark.parametrize(
    ("varied", "label"),
    [
        ({"optim.name": ["adam", "sgd"]}, "net, optim = adam"),
        ({"optim.lr": [1e-3, 0.01]}, "net, lr = 0.001"),
        ({"data.augment": [[{"name": "rotate", "degrees": 10}], []]}, "net, augment = rotate degrees 10"),
        ({"data.split.seed": [1, 2]}, "net, split.seed = 1"),
        ({"compute.deterministic": [True, False]}, "net, deterministic = true"),
        ({"optim.name": ["adam", "sgd"], "model.name": ["lenet", "vgg11"]}, "net, optim = adam, model = lenet"),
    ],
)
def test_labels_are_short(varied: dict[str, list[Any]], label: str) -> None:
    assert combine([("net", BASE)], varied)[1][0][0] == label


def test_keys_with_equal_ends_keep_more_of_their_path() -> None:
    varied = {"data.split.seed": [1, 2], "model.options.seed": [1, 2]}
    assert combine([("net", BASE)], varied)[0].keys == ("split.seed", "options.seed")


def test_long_values_with_the_same_start_keep_different_labels() -> None:
    _, points = combine([("net", BASE)], {"about": ["x" * 60 + "1", "x" * 60 + "2"]})
    assert len({label for label, _ in points}) == 2
    assert max(len(label) for label, _ in points) < 60


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        ([("train.batch_size", [64, 128, 64])], "train.batch_size: 64 is given twice"),
        ([("train.batch_size", [64])], "two values or more"),
        ([("train.batch_size", "64")], "two values or more"),
        ([("train.batch_size", [1, 2]), ("train.batch_size", [3, 4])], "train.batch_size is given twice"),
        ([("train.batch_sise", [1, 2])], "did you mean 'train.batch_size'"),
        ([("train.batch_size", [64, 0])], "train.batch_size = 0"),
        ([("seed", [1, 2])], "seed cannot be varied"),
        ([("", [1, 2])], "expected a key to vary"),
    ],
)
def test_keys_that_cannot_be_varied_are_an_error(varied: list[tuple[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combine([("net", BASE)], varied)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=64,128", [64, 128]),
        ("a.b=batch,none", ["batch", "none"]),
        ("a.b=1e-3, 0.01", [1e-3, 0.01]),
        ("a.b=true,auto", [True, "auto"]),
        ('a.b=[],[{name = "flip"}]', [[], [{"name": "flip"}]]),
    ],
)
def test_values_of_the_command_line_are_parsed_as_toml(text: str, values: list[Any]) -> None:
    assert parse_values(text) == ("a.b", values)


@pytest.mark.parametrize("text", ["a.b", "a.b=", "=1,2"])
def test_a_key_without_values_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a key and its values"):
        parse_values(text)


def test_an_effect_is_averaged_over_the_other_keys_and_paired_by_seed(tmp_path: Path) -> None:
    finding = conclude(DESIGN, members(tmp_path, additive), "test")
    norm = effect(finding, "norm")
    assert norm.difference.mean == pytest.approx(0.0204)
    assert norm.difference.n == 3
    assert norm.difference.sd == pytest.approx(0.0004)  # the 0.003 a seed, common to both, is gone
    assert norm.significant
    assert effect(finding, "batch_size").difference.mean == pytest.approx(0.01)


def test_p_values_are_corrected_over_all_effects(tmp_path: Path) -> None:
    effects = conclude(DESIGN, members(tmp_path, additive), "test").effects
    smallest, largest = sorted(effects, key=lambda each: each.p or 0)
    assert smallest.p_holm == pytest.approx(2 * smallest.p)
    assert largest.p_holm == pytest.approx(max(largest.p, smallest.p_holm))


def test_the_sentence_gives_p_for_an_effect_that_is_only_significant_before_the_correction(tmp_path: Path) -> None:
    def noisy(norm: str, size: str, seed: int) -> float:
        return 0.9 + (0.002 + 0.001 * seed) * (norm == "batch") + 0.004 * (seed == 1) * (size == "64")

    finding = compare(members(tmp_path, noisy), DESIGN)
    assert finding.ablation is not None
    norm = effect(finding.ablation, "norm")
    assert norm.difference.excludes(0)
    assert not norm.significant
    assert f"{norm.difference.points()}, but p = " in sentence(finding)


def test_the_sentence_names_the_better_value_of_each_key(tmp_path: Path) -> None:
    norm, size = sentence(compare(members(tmp_path, additive), DESIGN)).split("; ")
    assert norm.index("batch") < norm.index("none")
    assert re.findall(r"\d+\.\d+", norm) == ["2.04", "0.10"]
    assert size.index("64") < size.index("128")
    assert re.findall(r"\d+\.\d+", size) == ["1.000", "0.007"]
    assert "n = 3 seeds" in size


def test_keys_that_interact_are_a_caveat(tmp_path: Path) -> None:
    def crossed(norm: str, size: str, seed: int) -> float:
        return additive(norm, size, seed) + 0.05 * (norm == "batch" and size == "64")

    finding = compare(members(tmp_path, crossed), DESIGN)
    assert finding.ablation is not None
    (interaction,) = finding.ablation.interactions
    assert interaction.difference.mean == pytest.approx(0.05)
    assert interaction.significant
    assert re.findall(r"\+\d\.\d", caveats(finding)[-1]) == ["+7.0", "+2.0"]


def test_keys_that_do_not_interact_have_a_different_caveat(tmp_path: Path) -> None:
    finding = compare(members(tmp_path, additive), DESIGN)
    assert finding.ablation is not None
    assert not any(each.significant for each in finding.ablation.interactions)
    assert "interaction" in caveats(finding)[-1]


def test_one_seed_has_effects_without_interval_or_verdict(tmp_path: Path) -> None:
    finding = compare(members(tmp_path, additive, seeds=1), DESIGN)
    assert finding.ablation is not None
    norm = effect(finding.ablation, "norm")
    assert norm.difference.low is norm.p is norm.p_holm is None
    assert not norm.significant
    assert "none (2.00 points)" in sentence(finding)
    assert "1 seed" in sentence(finding)


def test_a_seed_without_a_score_at_some_combination_is_left_out(tmp_path: Path) -> None:
    trained = members(tmp_path, additive)
    write_json(trained[0].run.path / "scores.json", {})
    finding = conclude(DESIGN, trained, "test")
    assert (finding.seeds, finding.trained) == ((1, 2), 3)


def test_the_design_follows_from_the_finding(tmp_path: Path) -> None:
    effects = conclude(DESIGN, members(tmp_path, additive), "test").effects
    assert Design.of(DESIGN.keys, effects, [*DESIGN.levels]) == DESIGN
    with pytest.raises(ValueError, match="every combination"):
        Design.of(DESIGN.keys, [], [*DESIGN.levels])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    out = tmp_path_factory.mktemp("ablation")
    varied = {"model.options.norm": ["batch", "none"], "train.batch_size": [32, 128]}
    quick = {"data": "digits", "epochs": 1, "limit": 200, "seeds": 2}
    return api.compare(["two_conv_cnn"], vary=varied, out=out, show=False, **quick)  # type: ignore[arg-type]


def test_an_ablation_is_a_comparison_with_effects(study: Study) -> None:
    finding = kinds.finding_of(study)
    assert len(finding.rows) == 4
    assert [each.key for each in finding.ablation.effects] == ["norm", "batch_size"]
    assert kinds.sentence_of(study).startswith("norm: ")
    assert study.name.startswith("compare-two_conv_cnn-norm-batch_size-")
    assert verify_finding(study).state is State.AGREES


@pytest.mark.usefixtures("words_alone")
def test_its_page_shows_the_effects(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "convoy.reporting.canvas.draw_chart", lambda *of: draw_chart(*of) if of[0].name == "effects" else ("", b"")
    )
    page = api.report(study)
    assert "Interactions" in page.read_text()
    assert (study.path / "figures" / "effects.png").stat().st_size > 5_000
    assert "| norm | " in (study.path / "report.md").read_text()


def test_a_second_call_trains_nothing_and_has_the_same_conclusion(study: Study) -> None:
    before, out = study.finding_json, study.path.parents[1]
    varied = {"model.options.norm": ["batch", "none"], "train.batch_size": [32, 128]}
    times = {run: (run / "metrics.jsonl").stat().st_mtime_ns for run in (out / "runs").iterdir()}
    again = api.compare(["two_conv_cnn"], vary=varied, data="digits", epochs=1, limit=200, seeds=2, out=out, show=False)
    assert again.finding_json == before
    assert {run: (run / "metrics.jsonl").stat().st_mtime_ns for run in (out / "runs").iterdir()} == times


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vary", "model.options.norm=batch,nome"], "nome"),
        (["--vary", "model.options.nrm=batch,none"], "did you mean 'norm'"),
        (["--vary", "train.batch_size"], "expected a key and its values"),
        (["--vary", "train.batch_size=64,64"], "64 is given twice"),
        (["--vary", "lr=1e-3,1e-2", "--optim.lr", "0.1"], "optim.lr cannot be both set"),
    ],
)
def test_every_combination_is_checked_before_one_is_trained(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["compare", "two_conv_cnn", "--limit", "60", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
