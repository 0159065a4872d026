"""The command line. torch is imported inside commands only, so that `convoy --help` is fast."""

from convoy.cli.signals import stop_signals

with stop_signals():
    from convoy.cli.main import main, split_language, split_overrides

__all__ = ["main", "split_language", "split_overrides"]
