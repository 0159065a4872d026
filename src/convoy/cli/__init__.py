"""The command table. torch is imported inside commands only, so that `convoy --help` answers at once."""

from convoy.cli.main import main, split_overrides

__all__ = ["main", "split_overrides"]
