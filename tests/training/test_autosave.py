from __future__ import annotations

from convoy.training.machine.autosave import Autosave


def test_a_checkpoint_is_due_ten_seconds_after_the_start_and_after_the_last() -> None:
    autosave = Autosave(now=100.0)
    assert not autosave.due(110.0)
    assert autosave.due(110.1)
    autosave.saved(110.1, 110.2)
    assert not autosave.due(120.1)
    assert autosave.due(120.3)


def test_saving_takes_at_most_three_percent_of_the_time() -> None:
    autosave = Autosave(now=0.0)
    now = saving = 0.0
    while now < 10_000:
        now += 1.0
        if autosave.due(now):
            autosave.saved(now, now + 6.0)
            now, saving = now + 6.0, saving + 6.0
    assert 0.02 < saving / now <= 0.03
