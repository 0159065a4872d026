"""`convoy explore` without a browser: selected images, sizes, labels, the link in a report, the command."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Call
from tests.exploring.networks import SHAPE, content_of, page_content
from tests.fake_runs import Setting, fake_run
from tests.reporting.parsed import Page
from torch import nn

import convoy
from convoy.api.arguments import distinct_labels
from convoy.exploring import words
from convoy.exploring.arrays import Arrays
from convoy.exploring.bundle import bundle
from convoy.exploring.content import Images
from convoy.exploring.page import html
from convoy.exploring.sample import scored_images


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


def test_runs_on_different_images_are_an_error(tmp_path: Path) -> None:
    run, other = fake_run(tmp_path), fake_run(tmp_path, setting=Setting(classes=("cat", "dog")))

    with pytest.raises(ValueError, match="differ in classes: expected runs on the same images"):
        convoy.explore(run, other, out=tmp_path)


def test_runs_with_one_label_are_distinguished_by_faults_and_seeds(tmp_path: Path) -> None:
    plain, other = fake_run(tmp_path), fake_run(tmp_path, seed=7)
    faulty = fake_run(tmp_path, setting=Setting(faults=("selection_on_test",)))

    assert distinct_labels([plain]) == ["lenet"]
    assert distinct_labels([plain, faulty]) == ["lenet", "lenet, selection_on_test"]
    assert distinct_labels([plain, other]) == ["lenet, seed 42", "lenet, seed 7"]


@pytest.mark.usefixtures("words_alone")
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


def test_names_of_classes_data_and_runs_cannot_become_markup() -> None:
    hostile = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)><!--\u202e"

    def page_with(name: str) -> Page:
        scored = Images(np.zeros((1, *SHAPE), np.uint8), np.zeros(1, np.int64))
        network = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(SHAPE)), 10))
        content = page_content((content_of(network, name, scored),), scored)
        data = replace(content.data, name=name, classes=[name, *content.data.classes[1:]])
        return Page(html(replace(content, data=data)))

    page, plain = page_with(hostile), page_with("plain")
    assert [(tag, [*attributes]) for tag, attributes in page.tags] == [
        (tag, [*attributes]) for tag, attributes in plain.tags
    ]
    assert hostile.partition("\u202e")[0].replace("<", "\\u003c").replace('"', '\\"') in page.text


def test_no_two_messages_of_the_page_have_the_same_key() -> None:
    tables = [node for node in ast.walk(ast.parse(inspect.getsource(words))) if isinstance(node, ast.Dict)]
    keys = [key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)]
    assert len(keys) > 100
    assert len(keys) == len(set(keys))
