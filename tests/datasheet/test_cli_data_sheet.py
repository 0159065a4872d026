"""`convoy data show` and `convoy.data_sheet`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Call

import convoy


def test_console_and_page_have_the_same_numbers(call: Call, stripes: Path) -> None:
    code, out, err = call("data", "show", stripes)

    assert (code, err) == (0, "")
    assert "750 images of 3 classes" in out
    page = Path(out.splitlines()[-1])
    assert page.parent.parent == Path("convoy-runs/data")
    summary = json.loads((page.parent / "data-sheet.json").read_text())
    assert f"{summary['parts']['train']['mean'][0]:.4f}" in out
    assert f"{summary['parts']['train']['mean'][0]:.4f}" in page.read_text()


def test_a_data_sheet_counts_no_opening_of_the_test_set(call: Call, stripes: Path) -> None:
    assert call("data", "show", stripes)[0] == 0
    assert list(Path("convoy-runs").glob("*openings*")) == []


def test_json_is_one_object_and_the_page_is_in_the_folder_of_save(call: Call, stripes: Path) -> None:
    code, out, _ = call("data", "show", f"bars={stripes}", "--size", 8, "--save", "sheet", "--json")

    sheet = json.loads(out)
    assert code == 0
    assert (sheet["name"], sheet["size"]) == ("bars", 8)
    assert Path(sheet["page"]) in Path("sheet").absolute().iterdir()


def test_sheets_of_different_data_with_one_name_have_different_folders(call: Call, stripes: Path) -> None:
    pages = {call("data", "show", stripes, "--size", size)[1].splitlines()[-1] for size in (8, 10)}
    assert len(pages) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnits"], "did you mean 'mnist'"),
        (["nowhere.npz"], "nowhere.npz: does not exist"),
        (["mnist", "--size", "x"], "--size"),
        (["mnist", "--size", "0"], "data.size = 0"),
        (["mnist", "--optim.lr", "1"], "--optim.lr"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_arguments_are_one_line_errors_and_write_nothing(
    call: Call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, out, err = call("data", "show", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_python_function_returns_facts_and_page(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", x_train=images, y_train=np.arange(60) % 2)
    shares: list[float] = []

    sheet = convoy.data_sheet(str(tmp_path / "set.npz"), save=tmp_path / "sheet", progress=shares.append)

    assert sheet.page == tmp_path / "sheet" / "data-sheet.html"
    assert sheet.summary.parts["train"].images == 60
    assert shares == [1.0]
