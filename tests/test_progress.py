from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fake_runs import epoch_metrics

from convoy.events import Ended, EpochEnded, Event, Note, Progress, Started
from convoy.progress import Display, display_of
from convoy.run_contents import RunState

PROGRESS = Progress(
    epoch=1, epochs=2, images=50, total=200, loss=None, accuracy=0.5, images_per_second=1234.5, batches_per_second=9.87
)
RUN = Path("x")
EPOCH = EpochEnded("epoch 1/2", epoch_metrics(), RUN)
END = Ended("run folder: x [y]", RUN, RunState.FINISHED)


def output_of(names: list[str], events: list[tuple[int, Event]], capsys: pytest.CaptureFixture[str]) -> str:
    with Display(names) as display:
        for position, event in events:
            display.show(position, event)
    return capsys.readouterr().out


def test_one_run_prints_the_text_of_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    events = [(0, event) for event in (Started("training", RUN), Note("a note [x]"), EPOCH, END)]
    out = output_of(["lenet"], events, capsys)
    assert out.splitlines() == [event.text for _, event in events]


def test_lines_of_several_runs_have_the_run_as_prefix_and_equal_notes_are_printed_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    events: list[tuple[int, Event]] = [(position, Note("quick try")) for position in (0, 1)]
    events += [(1, EPOCH), (1, END)]
    out = output_of(["a", "b"], events, capsys)
    assert out.splitlines() == ["a: quick try", "b: epoch 1/2", f"b: {END.text}"]


def test_terminal_shows_bars_with_numbers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    out = output_of(["a", "b"], [(0, PROGRESS)], capsys)
    assert "epoch 1/2" in out
    assert "loss not finite" in out
    assert "1,234 images/s  9.9 batches/s" in out


def test_lines_wrap_on_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    long = [(0, Note("words and words " * 20)), (0, PROGRESS), (1, PROGRESS)]
    assert len(output_of(["fast_mnist_cnn seed 42", "b"], long, capsys).splitlines()) == 1
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    out = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output_of(["fast_mnist_cnn seed 42", "b"], long, capsys))
    lines = re.split("[\r\n]+", out)
    assert max(map(len, lines)) <= 80
    assert any("epoch 1/2" in line and "loss not finite" in line and "\u2026" not in line for line in lines)


def evaluation_output(names: list[str], capsys: pytest.CaptureFixture[str], *calls: tuple[int, int]) -> str:
    with Display(names) as display:
        for done, images in calls:
            display.show_evaluation(done, images)
            if display._bars is not None:
                display._bars.refresh()
    return capsys.readouterr().out


def test_a_terminal_shows_a_bar_for_an_evaluation_of_several_batches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluation_output(["a"], capsys, (1000, 2000), (2000, 2000)) == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    assert "evaluation" not in evaluation_output(["a"], capsys, (500, 500))
    out = evaluation_output(["a"], capsys, (1000, 2000), (2000, 2000), (1000, 12_000))
    assert "1,000/2,000 images" in out
    assert "1,000/12,000 images" in out


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """All contents of the only output of a notebook cell."""
    contents: list[dict[str, str]] = []

    class Handle:
        def update(self, content: dict[str, str], *, raw: bool) -> None:
            contents.append(content)

    def display(content: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert contents == []
        contents.append(content)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return contents


def test_a_notebook_has_one_output_which_is_updated(
    outputs: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoy.progress.UPDATE_SECONDS", 0)
    events = [Started("training", RUN), PROGRESS, EPOCH, replace(EPOCH, text="epoch 2/2"), Note("a < b"), END]
    with display_of(["lenet <b>"], to_stderr=False) as display:
        for event in events:
            display.show(0, event)
    assert "<progress value='50' max='200'>" in outputs[2]["text/html"]
    assert "lenet &lt;b&gt;" in outputs[2]["text/html"]
    assert outputs[-1]["text/plain"].splitlines() == ["training", "epoch 2/2", "a < b", END.text]  # the last epoch only
    assert "a &lt; b" in outputs[-1]["text/html"]
    assert "<progress" not in outputs[-1]["text/html"]


def test_a_notebook_shows_how_many_runs_of_a_study_are_done_and_collapses_early_lines(
    outputs: list[dict[str, str]],
) -> None:
    with display_of([f"run {number}" for number in range(9)], to_stderr=False) as display:
        for position in range(9):
            display.show(position, Note("quick try"))
            display.show(position, EPOCH)
            display.show(position, END)
            assert f"{position + 1}/9" in outputs[-1]["text/html"]
        display.show_evaluation(100, 200)
    html = outputs[-1]["text/html"]
    assert html.count("quick try") == 1
    assert "epoch 1/2" not in html
    assert html.index("<summary>4 earlier lines") < html.index("run 0") < html.index("</details>") < html.index("run 8")


def test_updates_of_bars_in_a_notebook_are_limited(outputs: list[dict[str, str]]) -> None:
    with display_of(["a"], to_stderr=False) as display:
        for _ in range(100):
            display.show(0, PROGRESS)
    assert len(outputs) < 10
