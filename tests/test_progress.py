from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.fake_runs import epoch_metrics

from convoy.events import Ended, EpochEnded, Event, Note, Progress, Started
from convoy.progress import Display
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
