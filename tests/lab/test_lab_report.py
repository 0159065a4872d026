"""Lab reports of fake runs and studies: their content, and each format read back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from tests.fake_runs import FakeModel, Setting, fake_run, fake_study

from convoy import api, text
from convoy.experiments import kinds
from convoy.lab import method
from convoy.lab.page import lab_page
from convoy.lab.references import References, papers
from convoy.models import MODELS
from convoy.recipe import resolve, sections
from convoy.reporting import formats, pdf, raster, render
from convoy.reporting.content import Drawing, Page, Prose, Section, TextField, table_of
from convoy.runs import Run, Study
from convoy.training.run.stopping import STOP_RULES

NAMES = ("a_b & c%", "$x$ #1", "{brace}", "back\\slash", "5 < 6", "été", "~ ^", "日本", "π", "--")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return fake_run(tmp_path_factory.mktemp("run"), setting=Setting(classes=NAMES))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    models = {"lenet": FakeModel(0.98), "two_conv_cnn": FakeModel(0.99, 421_642)}
    return fake_study(tmp_path_factory.mktemp("study"), models, seeds=(42, 43))


@pytest.fixture(scope="module")
def page(run) -> Page:
    return lab_page(run, kinds.page_of, "Ada Lovelace")


def prose(page: Page) -> list[Prose]:
    return [block for block in page.blocks if isinstance(block, Prose)]


def names_of(page: Page) -> list[str]:
    return [block.name for block in page.blocks if isinstance(block, render.FIGURES)]


def test_method_has_the_values_of_the_recipe(run, page):
    text = " ".join(block.text for block in prose(page))
    recipe = run.recipe
    assert f"{recipe.optim.lr:g}" in text
    assert f"{recipe.train.batch_size}" in text
    assert f"{run.cost.parameters:,}" in text
    assert all(f"{count:,}" in text for count in run.data.counts.values())


def test_method_says_which_weights_are_scored_and_on_which_part_training_stops(run):
    def described(part, *faults):
        recipe = run.recipe.override({"stop.target_accuracy": 0.99, "protocol.faults": list(faults)})
        return method._selection(SimpleNamespace(recipe=recipe, data=SimpleNamespace(selection=part)))

    stops, scored = described("validation")
    assert "validation" in stops
    assert "highest validation" in scored
    stops, scored = described("test", "selection_on_test")
    assert "test" in stops
    assert "highest test" in scored
    assert "last epoch" in described("validation", "last_weights")[-1]


@pytest.mark.parametrize("optimizer", get_args(get_args(sections.Optim)[0]))
def test_method_names_each_optimizer_with_its_settings(optimizer, run):
    name = optimizer.model_fields["name"].default
    view = SimpleNamespace(recipe=run.recipe.override({"optim.name": name, "optim.lr": 0.0123}))
    text = method._optimizer(view, References())
    settings = view.recipe.optim.settings
    assert all(word in text for word in (view.recipe.optim.title, "0.0123", *settings))


@pytest.mark.parametrize("rule", [rule for rule in STOP_RULES if rule.fields], ids=lambda rule: rule.name)
def test_method_has_each_stop_rule_with_its_limit(rule, run):
    recipe = run.recipe.override({f"stop.{field}": value for field, value in rule.fields.items()})
    view = SimpleNamespace(recipe=recipe, data=SimpleNamespace(selection="validation"))
    stop, scored = method._selection(view)
    limit = f"{rule.fields[rule.switch]:g}"
    assert limit.removeprefix("0.") in stop
    assert "validation" in scored


def test_each_reference_is_cited_and_each_citation_has_a_reference(page, study):
    for each in (page, lab_page(study, kinds.page_of, None, kinds.about_of(study))):
        texts = [block.text for block in prose(each)]
        listed = [int(match[1]) for text in texts if (match := re.match(r"\[(\d+)\] ", text))]
        cited = [
            int(number)
            for text in texts
            if not text.startswith("[")
            for numbers in re.findall(r"\[(\d+(?:, \d+)*)\]", text)
            for number in numbers.split(", ")
        ]
        assert listed == [*range(1, len(listed) + 1)] == [*dict.fromkeys(cited)]


def test_network_is_drawn_and_questions_have_space_for_answers(page):
    (drawing,) = (block for block in page.blocks if isinstance(block, Drawing))
    assert "44,426" in drawing.svg
    assert sum(block.blank_lines > 0 for block in prose(page)) >= 5


def test_the_text_of_a_study_has_its_number_of_seeds(study):
    assert any(
        "trained with 2 seeds" in block.text
        for block in prose(lab_page(study, kinds.page_of, None, kinds.about_of(study)))
    )


def test_a_study_has_a_picture_of_each_network(study):
    page = lab_page(study, kinds.page_of, None, kinds.about_of(study))
    assert sum(isinstance(block, Drawing) for block in page.blocks) == 2
    assert len(set(names_of(page))) == len(names_of(page))


@pytest.mark.parametrize("name", MODELS)
def test_each_model_has_a_paper_with_a_url(name):
    found = papers(resolve(None, overrides=[("model.name", name)]))
    assert found
    assert all(paper.url.startswith("http") and re.search(r'"[^"]+", \d{4}\.$', paper.text) for paper in found)


def test_papers_of_an_option_are_cited_only_with_it():
    counts = {
        name: len(papers(resolve(None, overrides=[("model.name", name)])))
        for name in ("resnet18", "se_resnet18", "cbam_resnet18")
    }
    assert counts == {"resnet18": 1, "se_resnet18": 2, "cbam_resnet18": 2}


@contextmanager
def blank_figures() -> Iterator[None]:
    """Saves small blank images instead of figures, because drawing them takes most of the time."""
    blank = Image.new("RGB", (60, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convoy.reporting.canvas._svg", lambda figure: "<svg/>")
        patch.setattr(FigureCanvasAgg, "print_figure", lambda self, file, **options: blank.save(file, "png"))
        yield


def test_docx_has_all_headings_tables_and_figures(run, page, tmp_path):
    docx = pytest.importorskip("docx")
    with blank_figures():
        path = formats.write(page, tmp_path, "lab-report", "docx")
    document = docx.Document(str(path))
    headings = [each.text for each in document.paragraphs if each.style.name == "Heading 1"]
    assert headings == [section.title for section in page.sections]
    assert len(document.inline_shapes) == len(names_of(page))
    text = "\n".join(cell.text for table in document.tables for row in table.rows for cell in row.cells)
    assert all(name in text for name in NAMES)


def test_latin_words_in_a_chinese_docx_are_not_chinese_and_so_not_broken(page, tmp_path):
    docx = pytest.importorskip("docx")
    with blank_figures(), text.in_language("zh_CN"):
        path = formats.write(page, tmp_path, "lab-report", "docx")
    document = docx.Document(str(path))
    assert '<w:lang w:val="en-US" w:eastAsia="zh-CN"/>' in document.styles.element.xml
    assert not any("。 " in paragraph.text for paragraph in document.paragraphs)


def test_a_unit_in_a_chinese_docx_is_below_the_title_of_its_column(page, tmp_path):
    docx = pytest.importorskip("docx")
    with blank_figures(), text.in_language("zh_CN"):
        path = formats.write(page, tmp_path, "lab-report", "docx")
    headers = {cell.text for table in docx.Document(str(path)).tables for cell in table.rows[0].cells}
    assert "Precision\n%" in headers


@pytest.fixture(scope="module")
def tex(page, tmp_path_factory) -> Path:
    with blank_figures():
        return formats.write(page, tmp_path_factory.mktemp("tex"), "lab-report", "tex")


def test_tex_is_balanced_and_escapes_names(page, tex):
    text = tex.read_text(encoding="utf-8")
    open_environments: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            open_environments.append(name)
        else:
            assert open_environments.pop() == name
    assert not open_environments
    bare = re.sub(r"\\[\\{}%&$#_]", "", text)
    assert bare.count("{") == bare.count("}")
    body = bare.partition(r"\maketitle")[2]
    assert not re.search(r"[$#^~]", re.sub(r"\\ensuremath\{\^2\}", "", body).replace("~", ""))
    for name in names_of(page):
        assert f"figures/{name}.png" in text
        assert (tex.parent / "figures" / f"{name}.png").is_file()


def test_a_hash_can_be_broken_in_a_tex_table(page, tmp_path):
    facts = table_of([TextField("", lambda row: row)], ["0123456789abcdef" * 4])
    with blank_figures():
        path = formats.write(replace(page, sections=(Section("Data", (facts,)),)), tmp_path, "lab-report", "tex")
    text = path.read_text(encoding="utf-8")
    assert r"01234567\allowbreak{}89abcdef" in text


def test_letters_without_a_latin_font_do_not_stop_pdflatex(tex):
    preamble = tex.read_text(encoding="utf-8").partition("\\title")[0]
    declared = re.findall(r"\\DeclareUnicodeCharacter\{(\w+)\}\{U\+\1\}", preamble)
    assert {f"{ord(letter):04X}" for letter in "日本π"} == {*declared}


def test_drawing_as_png_has_its_shapes_and_text(page, tmp_path):
    (drawing,) = (block for block in page.blocks if isinstance(block, Drawing))
    raster.save_drawing(drawing, tmp_path)
    picture = Image.open(tmp_path / f"{drawing.name}.png").convert("RGB")
    assert picture.width / picture.height == pytest.approx(drawing.width / _height(drawing), rel=0.02)
    assert len(picture.getcolors(2**24) or ()) > 20


def _height(drawing: Drawing) -> float:
    return float(re.search(r'viewBox="0 0 \d+ (\d+)"', drawing.svg)[1])  # type: ignore[index]


@pytest.mark.usefixtures("words_alone")
def test_markdown_and_html_have_the_same_figures(page, tmp_path):
    markdown = formats.write(page, tmp_path, "lab-report", "md").read_text(encoding="utf-8")
    html = formats.write(page, tmp_path, "lab-report", "html").read_text(encoding="utf-8")
    assert re.findall(r"\(figures/(.*?)\.(?:png|svg)\)", markdown) == names_of(page)
    assert re.findall(r'<figure id="(.*?)"', html) == names_of(page)


def _program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_pdf_is_printed_by_a_browser_or_compiled_by_latex(page, tmp_path, monkeypatch):
    page = replace(page, sections=())  # without figures, which are drawn for each file
    programs = tmp_path / "bin"
    programs.mkdir()
    _program(
        programs,
        "pdflatex",
        "for a; do case $a in -output-directory=*) d=${a#*=} ;; esac; done; echo latex > $d/page.pdf",
    )
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(pdf, "BROWSERS", ("a-browser",))
    monkeypatch.setattr(pdf, "COMPILERS", ("pdflatex",))
    assert formats.write(page, tmp_path, "a", "pdf").read_bytes() == b"latex\n"
    _program(programs, "a-browser", "for a; do case $a in --print-to-pdf=*) echo page > ${a#*=} ;; esac; done")
    assert formats.write(page, tmp_path, "b", "pdf").read_bytes() == b"page\n"
    _program(programs, "a-browser", "echo broken; exit 3")
    with pytest.raises(ValueError, match="a-browser did not write a PDF .*3.*broken"):
        formats.write(page, tmp_path, "c", "pdf")


@pytest.mark.parametrize("suffix", ["docx", "pdf", "odt"])
def test_a_missing_program_or_package_is_reported_before_anything_is_written(suffix, run, monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    before = sorted(run.path.rglob("*"))
    needed = {"docx": r"convoy-ml\[lab\]", "pdf": "Chromium .*LaTeX", "odt": "docx"}[suffix]
    with pytest.raises(ValueError, match=needed):
        api.report(run, format=suffix)
    assert sorted(run.path.rglob("*")) == before


@pytest.mark.usefixtures("words_alone")
def test_an_edited_lab_report_is_not_overwritten(run):
    path = api.report(run, format="md")
    path.write_text("my answers")
    with pytest.raises(ValueError, match="already exists"):
        api.report(run, format="md")
    assert path.read_text() == "my answers"
    assert api.report(run, format="md", overwrite=True, author="Ada Lovelace").read_text() != "my answers"
    assert "Ada Lovelace" in path.read_text()


def test_author_needs_a_format(run):
    with pytest.raises(ValueError, match="--format"):
        api.report(run, author="Ada Lovelace")
