"""Complete reports, written from fake runs and read back."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from tests.fake_runs import FakeModel, Setting, fake_run, fake_study
from tests.reporting.parsed import Page

from convoy.api import report as write_report
from convoy.archive import archive_run
from convoy.experiments.reproduction.page_tables import costs_table, epochs_table
from convoy.files import write_json
from convoy.reporting import canvas, content
from convoy.reporting.canvas import chart_svg, inline_panels
from convoy.reporting.content import Chart, Table
from convoy.reporting.pages import study_page
from convoy.reporting.palette import Look
from convoy.reporting.reading import read_run
from convoy.reporting.render import write as write_page
from convoy.reporting.tables import cost_table, runs_table
from convoy.runs import Member, Run, Study, Workspace
from convoy.studies import findings, kinds
from convoy.studies.compare.finding import conclude
from convoy.studies.compare.tables import models as models_table
from convoy.text import in_language

TWO = {"lenet": FakeModel(0.98), "two_conv_cnn": FakeModel(0.99, 421_642, 34.0)}


# Names that other pages and papers may rely on.
STABLE = (
    "accuracy_bars", "pareto", "time_bars", "parameter_bars",
    "curves", "validation_accuracy", "train_loss_smoothed", "loss_by_seconds",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    study = fake_study(tmp_path_factory.mktemp("two"), TWO, seeds=(42, 43))
    write_report(study)
    return study


@pytest.fixture(scope="module")
def html(study) -> str:
    return (study.path / "report.html").read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return fake_run(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def run_report(run) -> Path:
    return write_report(run)


def test_sentence_comes_before_the_table_and_the_table_before_any_figure(study, html):
    sentence = html.index(kinds.sentence_of(study).split(" (")[0])
    assert sentence < html.index("<table") < html.index("<figure")


def test_small_figures_that_follow_each_other_share_a_row(html):
    rows = [re.findall(r'<figure id="(.*?)"', row) for row in re.split('<div class="row (?:two|three)">', html)[1:]]

    assert rows[0][:3] == ["accuracy_bars", "time_bars", "parameter_bars"]
    assert rows[1][:3] == ["validation_accuracy", "train_loss_smoothed", "loss_by_seconds"]
    assert rows[2][:2] == ["predictions", "hardest"]


def test_the_page_of_a_comparison_is_below_2_mb(html):
    assert len(html) < 2_000_000


@pytest.mark.parametrize(("rows", "printed"), [(40, True), (41, False)])
def test_long_collapsed_tables_are_not_printed(tmp_path, rows, printed):
    field = content.Field("Layer", lambda row: f"layer {row}", numeric=False)
    table = content.table_of([field], range(rows), title="Layers", collapsed_title="All layers")
    page = content.Page("", "Title", "Sentence", (), (), (content.Section("Networks", (table,)),), ())
    html = write_page(page, tmp_path).read_text()
    assert html.count("<tr>") == 1 + rows
    screen, print_ = html.split("@media print", 1)
    assert ".unprinted" not in screen
    assert ".unprinted { display: none; }" in print_
    assert ('<div class="unprinted">' in html) is not printed


def test_runs_of_one_label_at_several_learning_rates_are_listed_with_their_rate(tmp_path):
    runs = [fake_run(tmp_path, seed=seed, changes={"optim.lr": lr}) for seed, lr in ((1, 1e-3), (2, 1e-2))]
    one, two = [read_run(run) for run in runs]
    column = next(
        field for field in runs_table({"lenet": [one, two]}, tmp_path).columns if field.title == "Learning rate"
    )

    assert [column.of(one), column.of(two)] == ["0.001", "0.01"]
    assert "Learning rate" not in [field.title for field in runs_table({"lenet": [one]}, tmp_path).columns]


def test_page_loads_no_external_resources(html):
    page = Page(html)
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html
    assert not page.all("script")
    assert not page.all("link")
    assert all(image["src"].startswith("data:image/png") for image in page.all("img"))


def test_every_image_has_alternative_text(html):
    images = Page(html).all("img")
    assert images
    assert all(image["alt"] for image in images)


def test_ids_are_unique_and_references_find_them(html):
    page = Page(html)
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert max(ids.values()) == 1
    used = {attributes["xlink:href"][1:] for attributes in page.all("use")}
    clipped = {
        attributes["clip-path"][5:-1]
        for _, attributes in page.tags
        if attributes.get("clip-path", "").startswith("url(")
    }
    assert used
    assert used | clipped <= ids.keys()


def test_figures_take_their_colours_from_the_page(html):
    svg = html[html.index('<figure id="accuracy_bars"') : html.index("</figure>")]
    assert "var(--m0)" in svg
    assert "#0072b2" not in svg


def test_each_run_is_listed_with_a_link_to_its_folder(study, html):
    links = {attributes["href"] for attributes in Page(html).all("a") if not attributes["href"].startswith("#")}
    linked = {(study.path / unquote(link)).resolve() for link in links}
    assert linked == {member.run.path.resolve() for member in study.members}


def test_table_shows_means_with_intervals_and_units(study, html):
    row = kinds.finding_of(study).rows[0]
    text = Page(html).text
    assert f"{100 * row.accuracy.mean:.2f}" in text
    assert f"{row.cost.parameters:,}" in text
    for unit in ("images/s", "ms/image", "MiB", "per image"):
        assert unit in text


@pytest.mark.usefixtures("words_alone")
def test_only_a_significantly_best_model_is_bold(tmp_path):
    clear = fake_study(
        tmp_path / "a", {"lenet": FakeModel(0.9), "big": FakeModel(0.99)}, setting=Setting(filters=False)
    )
    level = fake_study(tmp_path / "b", {"lenet": FakeModel(0.98), "big": FakeModel(0.98)}, seeds=(1, 2))
    assert "<strong>big</strong>" in write_report(clear).read_text()
    assert "<strong>" not in write_report(level).read_text()


def notes_and_flops(table: Table) -> tuple[str, list[str]]:
    place = next(place for place, column in enumerate(table.columns) if column.title == "FLOPs")
    return table.note, [row[place].note for row in table.rows]


def test_macs_reported_as_flops_are_marked(tmp_path):
    finding = kinds.finding_of(fake_study(tmp_path, TWO, seeds=(1,)))
    faulty = fake_run(tmp_path, "lenet", TWO["lenet"], seed=1, setting=Setting(faults=("macs_as_flops",)))
    sound = fake_run(tmp_path, "two_conv_cnn", TWO["two_conv_cnn"], seed=1)
    groups = {run.label: [read_run(run)] for run in (faulty, sound)}
    for table in (models_table(finding, groups), costs_table(groups)):
        note, marks = notes_and_flops(table)
        assert "macs_as_flops" in note
        assert sorted(marks) == ["", "MACs"]
    assert "MACs" in [column.title for column in cost_table(groups["lenet"][0]).columns]


def test_a_table_of_costs_has_times_of_one_machine_and_names_it(tmp_path):
    study = fake_study(tmp_path, TWO, seeds=(1, 2))
    moved = study.members[0].run
    write_json(moved.path / "environment.json", {**asdict(moved.environment), "cpu": "Another CPU"})
    groups = {label: [read_run(m.run) for m in study.members if m.label == label] for label in TWO}
    for table in (models_table(kinds.finding_of(study), groups), costs_table(groups)):
        assert "(3 of 4)" in table.note
        assert "Another CPU" not in table.note


def test_latency_has_quartiles_except_for_an_older_run(tmp_path):
    study = fake_study(tmp_path, TWO, seeds=(1,))
    run = study.members[0].run
    tables = {}
    for age, quartiles in {"older": {}, "new": {"ms_per_image_quartiles": [0.2041, 0.2334]}}.items():
        write_json(run.path / "cost.json", {**asdict(run.cost), "ms_per_image": 0.21, **quartiles})
        groups = {run.label: [read_run(run)]}
        made = (
            models_table(conclude(study.members[:1]), groups),
            costs_table(groups),
            cost_table(groups[run.label][0]),
        )
        tables[age] = [" ".join(f"{cell.text} {cell.note}" for cell in table.rows[0]) for table in made]
    assert all("0.204–0.233" in text for text in tables["new"])
    assert all("0.210  393" in text for text in tables["older"])  # the next column follows


def test_note_on_the_best_epoch_names_the_fault_last_weights(tmp_path):
    marks = {
        faults: epochs_table(
            read_run(fake_run(tmp_path / str(len(faults)), setting=Setting(faults=faults))), {}, ""
        ).note
        for faults in ((), ("last_weights",))
    }
    assert "last_weights" not in marks[()]
    assert "last_weights" in marks["last_weights",]


def test_markdown_links_existing_figures(study):
    html = MarkdownIt("commonmark").enable("table").render((study.path / "report.md").read_text())
    images = [image["src"] for image in Page(html).all("img")]
    assert len(images) == len(set(images)) == 14
    assert all((study.path / image).is_file() for image in images)


def test_markdown_has_the_same_sentence_and_rows(study):
    text = (study.path / "report.md").read_text()
    assert kinds.sentence_of(study) in text
    assert all(f"| {row.label} |" in text for row in kinds.finding_of(study).rows)


def test_charts_are_files_in_png_and_svg(study):
    for name in (*STABLE, "confusion", "balance"):
        assert (study.path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (study.path / "figures" / f"{name}.svg").read_text()


def test_recipe_environment_data_and_command_are_complete(html):
    text = Page(html).text
    for fact in (
        "warmup_epochs = 0.2",
        "2.13.0+cpu",
        "Example CPU",
        "d1" * 32,
        "5a" * 32,
        "convoy compare lenet",
        "48,000",
    ):
        assert fact in text
    assert '"two_conv_cnn"' in text


def test_the_page_of_a_run_begins_with_its_accuracy(run, run_report):
    text = Page(run_report.read_text()).text
    score = run.scores["test"]
    assert f"lenet reaches {100 * score.accuracy:.2f}" in text
    assert "One seed" in text
    assert f"{score.correct:,}" in text
    assert "between models" not in text


def test_a_report_is_written_to_the_folder_of_its_run(run, run_report):
    assert run_report == run.path / "report.html"
    assert (run.path / "figures" / "curves.png").is_file()


@pytest.fixture
def panels_alone(words_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes pages without figures, whose panels are drawn."""
    monkeypatch.setattr(canvas, "draw_chart", lambda chart, look: (str(canvas._all_panels(chart, look)), b""))


@pytest.mark.usefixtures("panels_alone")
@pytest.mark.parametrize(
    ("setting", "word"),
    [
        (Setting(counts={"train": 60_000, "test": 10_000}), "no validation set"),
        (Setting(counts={"train": 48_000, "validation": 12_000}), "selected the best epoch"),
        (Setting(counts={"train": 48_000}), "no accuracy"),
        (Setting(flags=("quick try: 2,000 images, no evidence",), limit=2000), "quick try: 2,000 images, no evidence"),
        (Setting(faults=("selection_on_test",)), "selection_on_test"),
        (Setting(channels=3, epochs=1), "colour"),
        (Setting(filters=False), "lenet reaches"),
    ],
    ids=["no validation", "no test", "neither", "quick try", "fault", "colour and one epoch", "no filters"],
)
def test_the_page_of_a_run_has_its_caveats(tmp_path, setting, word):
    path = write_report(fake_run(tmp_path, setting=setting))
    assert word in Page(path.read_text()).text


@pytest.mark.usefixtures("page_alone")
def test_a_run_that_is_not_finished_reports_no_accuracy(tmp_path):
    run = fake_run(tmp_path)
    for name in ("scores.json", "cost.json", "gallery.npz", "arrays.npz", "steps.npz", "metrics.jsonl"):
        (run.path / name).unlink()
    run.write_status(state="interrupted", reason="stopped at step 7")
    text = Page(write_report(run).read_text()).text
    assert "stopped at step 7" in text
    assert "no accuracy" in text


@pytest.mark.usefixtures("words_alone")
def test_a_study_with_one_seed_compares_on_the_same_images(tmp_path):
    text = Page(write_report(fake_study(tmp_path, TWO, seeds=(42,))).read_text()).text
    assert "exact McNemar" in text
    assert "between models" not in text


@pytest.mark.usefixtures("words_alone")
@pytest.mark.parametrize("seeds", [(42,), (42, 43, 44)])
def test_the_page_of_a_quick_comparison_has_no_verdict(tmp_path, seeds):
    text = Page(write_report(fake_study(tmp_path, TWO, seeds=seeds, setting=Setting(limit=2000))).read_text()).text
    assert "no verdict" in text
    for word in ("significant", "distinguishable", "beats", "beaten"):
        assert word not in text


def test_common_seeds_are_tested_over_images_and_over_seeds(html):
    text = Page(html).text
    assert "between models" in text
    assert "Exact McNemar test" in text


def charts(study: Study) -> dict[str, Chart]:
    blocks = [block for section in study_page(study, study.path, kinds.page_of).sections for block in section.blocks]
    return {block.name: block for block in blocks if isinstance(block, Chart)}


def test_archived_runs_are_compared_like_complete_ones(tmp_path):
    """Archived runs have no gallery and filters, and only some steps."""
    complete = fake_study(tmp_path, TWO, seeds=(1, 2), setting=Setting(epochs=8))
    members = [
        Member(member.label, member.seed, archive_run(member.run, tmp_path / "archive")) for member in complete.members
    ]
    slim = Workspace(tmp_path).write_study("slim", "compare", members, "convoy compare")
    findings.write(slim, conclude(members))
    assert slim.finding_json == complete.finding_json
    found = charts(slim)
    assert found.keys() > set(STABLE)
    assert "up to 20 steps" in found["train_loss_smoothed"].caption


def test_the_best_of_many_models_are_drawn_in_unique_colours(tmp_path):
    models = {f"net{place}": FakeModel(0.95 + 0.004 * place) for place in range(12)}
    study = fake_study(tmp_path, models, seeds=(1, 2), setting=Setting(filters=False))
    found = charts(study)
    chart = found["validation_accuracy"]
    assert set(chart.legend) == {f"net{place}" for place in range(2, 12)}
    assert "10 of 12 models" in chart.caption
    look = Look(study_page(study, study.path, kinds.page_of).labels)
    assert len({look.colour(label) for label in chart.legend}) == 10
    assert len(found["confusion"].panels) == 10


@pytest.mark.usefixtures("page_alone")
def test_pages_with_a_hundred_classes_are_readable(tmp_path):
    setting = Setting(classes=tuple(f"class number {place}" for place in range(100)))
    html = write_report(fake_study(tmp_path, TWO, seeds=(42, 43), setting=setting)).read_text()
    assert len(html) < 1_000_000
    confusion = html[html.index('<figure id="confusion"') :]
    assert confusion[: confusion.index("</figure>")].count("<text") < 100


def test_ten_models_with_long_names_have_ten_distinct_names(tmp_path):
    models = {f"a_network_with_a_name_of_quite_some_length_and_number_{place}": FakeModel() for place in range(10)}
    chart = charts(fake_study(tmp_path, models, seeds=(1,), setting=Setting(filters=False)))["accuracy_bars"]
    shown = Page("".join(inline_panels(chart, chart_svg(chart, Look(list(models))), "f"))).text
    assert all(f"…{place}" in shown for place in range(10))


HOSTILE = "<script>alert(1)</script>\"'|`*_[x](javascript:alert(1)) $x_1$\x00\u202e"


@pytest.mark.usefixtures("page_alone")
def test_names_cannot_become_markup(tmp_path):
    classes = (HOSTILE, "<img src=x onerror=alert(1)>", "a|b\n\nc", "\u2067", *"456789")
    models = {HOSTILE: FakeModel(0.98), "plain": FakeModel(0.99)}
    path = write_report(fake_study(tmp_path, models, seeds=(1, 2), setting=Setting(classes=classes)))
    page = Page(path.read_text())
    markdown = Page(MarkdownIt("commonmark").enable("table").render(path.with_suffix(".md").read_text()))
    for shown in (page, markdown):
        assert not shown.all("script")
        assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)
        assert all("javascript:" not in attributes.get("href", "") for attributes in shown.all("a"))
        assert "<script>alert(1)</script>" in shown.text
        assert "\x00" not in shown.text
        assert "\u202e" not in shown.text
    assert "(no name)" in page.text
    columns = [
        line.replace(r"\|", "").count("|")
        for line in path.with_suffix(".md").read_text().splitlines()
        if line[:1] == "|"
    ]
    assert columns[0] == columns[1] == columns[2]


def test_missing_files_are_a_one_line_error(tmp_path):
    study = fake_study(tmp_path, TWO, seeds=(42,))
    (study.members[0].run.path / "data.json").unlink()
    with pytest.raises(ValueError, match=r"data\.json does not exist") as error:
        write_report(study)
    assert "\n" not in str(error.value)


def test_an_unknown_kind_of_study_is_an_error(tmp_path):
    study = fake_study(tmp_path, TWO, seeds=(42,))
    other = Workspace(tmp_path).write_study("other", "horoscope", study.members, "")
    write_json(other.path / "finding.json", {"kind": "horoscope"})
    with pytest.raises(ValueError, match="'horoscope'"):
        write_report(other)


@pytest.mark.usefixtures("page_alone")
def test_writing_again_gives_the_same_page(study, html):
    assert write_report(study).read_text() == html


@pytest.mark.usefixtures("words_alone")
def test_labels_of_an_ablation_have_chinese_commas_in_chinese(tmp_path: Path) -> None:
    members = [
        Member(f"{name}, lr = 0.1", seed, fake_run(tmp_path, name, seed=seed)) for name in TWO for seed in (42, 43)
    ]
    study = Workspace(tmp_path).write_study("labels", "compare", members, "convoy compare")
    findings.write(study, conclude(members))
    with in_language("zh_CN"):
        page = write_report(study).read_text(encoding="utf-8")

    assert "<title>mnist 上的 lenet，lr = 0.1 和 two_conv_cnn，lr = 0.1<" in page
