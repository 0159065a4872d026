"""The command line. torch is imported inside commands only, so that `convoy --help` is fast."""

import sys

try:
    from convoy.cli.main import main, split_language, split_overrides
except KeyboardInterrupt:  # Ctrl-C during the imports
    print("stopped", file=sys.stderr)
    sys.exit(130)

__all__ = ["main", "split_language", "split_overrides"]
