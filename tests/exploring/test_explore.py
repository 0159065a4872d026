"""`convoy explore` without a browser: which images travel along, sizes, labels, the link of a report, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Call

import convoy
from convoy.api.arguments import distinct_labels
from convoy.exploring.arrays import Arrays
from convoy.exploring.bundle import bundle
from convoy.exploring.sample import scored_images
from convoy.exploring.words import script_words
from convoy.runs import Run


def test_a_page_of_lenet_has_at_most_600_kb_and_no_address(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoy.exploring.run._epochs", lambda *of: ())

    text = convoy.explore(digits_run, save=tmp_path / "page.html").read_text(encoding="utf-8")

    assert len(text) < 600_000
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_images_that_are_classified_wrongly_are_first_with_each_kind_of_mistake() -> None:
    labels = np.arange(200) % 5
    predicted = labels.copy()
    predicted[:60] = (labels[:60] + 1) % 5  # five kinds of mistakes, twelve times each
    predicted[61] = 4
    confidence = np.linspace(0.5, 1, 200)

    chosen = scored_images(labels, [predicted], confidence, 20)

    wrong = [index for index in chosen if predicted[index] != labels[index]]
    assert chosen[: len(wrong)] == wrong
    assert len(wrong) == 14
    assert len({(labels[index], predicted[index]) for index in wrong}) == 6
    assert {labels[index] for index in chosen[len(wrong) :]} == set(range(5))
    assert len(set(chosen)) == 20


def test_equal_arrays_are_stored_once() -> None:
    arrays = Arrays()
    first = arrays.add(np.ones((2, 3), np.float32))

    assert arrays.add(np.zeros(4, np.uint8)) != first
    assert arrays.add(np.ones((2, 3), np.float32)) == first
    assert [entry["start"] for entry in arrays.table] == [0, 24]


def test_the_script_has_each_module_after_those_that_it_imports() -> None:
    script = bundle()

    assert script.index("const operations_js") < script.index("const store_js") < script.index("const main_js")
    assert "import {" not in script
    assert "\nexport " not in script


def test_every_message_that_the_script_asks_for_exists() -> None:
    words, script = script_words("test"), bundle()
    keys = {key for key in words if f'"{key}"' in script or key.startswith("op_")}

    # The others are put together from a name and a suffix, as in `${name}_text`.
    assert words.keys() - keys <= {"occlusion_text", "activation_text"}


def test_runs_with_one_label_are_distinguished_by_faults_and_seeds(tiny, tmp_path: Path) -> None:
    def run(name: str, *overrides: tuple[str, object]) -> Run:
        recipe = tiny(*overrides)
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(recipe.to_toml())
        return Run(tmp_path / name)

    plain, other = run("a"), run("b", ("seed", 7))
    faulty = run("c", ("protocol.faults", ["selection_on_test"]))

    assert distinct_labels([plain]) == ["Tiny"]
    assert distinct_labels([plain, faulty]) == ["Tiny", "Tiny, selection_on_test"]
    assert distinct_labels([plain, other]) == ["Tiny, seed 42", "Tiny, seed 7"]


def test_the_command_prints_the_page_and_the_report_links_to_it(call: Call, digits_run: Run) -> None:
    code, out, err = call("explore", digits_run.path, "--json")
    assert code == 0, err
    result = json.loads(out)

    assert Path(result["page"]) == digits_run.path / "explore.html"
    assert result["bytes"] == Path(result["page"]).stat().st_size
    assert 'href="explore.html"' in convoy.report(digits_run).read_text(encoding="utf-8")


def test_runs_on_other_images_are_refused(digits_run: Run, tiny, tmp_path: Path) -> None:
    other = convoy.train(tiny(("train.epochs", 1)), out=tmp_path, show=False)

    with pytest.raises(ValueError, match="expected runs on the same images"):
        convoy.explore(digits_run, other, out=tmp_path)


def test_a_comparison_writes_the_page_of_its_best_run(call: Call, stripes: Path, net: Path) -> None:
    """A user's network on grey images that are not handwriting: no drawing pad."""
    code, out, err = call(
        "compare", f"{net}:Tiny", "--data", stripes, "--epochs", 1, "--seeds", 1, "--explore", "--compute.threads", 1
    )
    assert code == 0, err
    page, report = (Path(line) for line in out.splitlines()[-2:])

    assert (page.name, report.name) == ("explore.html", "report.html")
    assert page.parent == report.parent
    assert 'id="pad"' not in page.read_text(encoding="utf-8")
