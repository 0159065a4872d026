"""The worker process of `decode.decode_files`: `python -m convoy.data.decode_worker`. Exits at the end of its input."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from convoy.data.decode_images import decode_chunk
from convoy.data.imageset import DataError


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process group; the parent stops this process
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps the output of libraries out of the replies
    try:
        for line in sys.stdin.buffer:
            replies.writelines(_answer(json.loads(line)))
            replies.flush()
    except BrokenPipeError:  # the parent was killed
        os._exit(1)


def _answer(request: dict[str, Any]) -> list[bytes]:
    try:
        pixels, sizes = decode_chunk(request["paths"], request["size"])
    except DataError as error:
        return [json.dumps({"error": str(error)}).encode() + b"\n"]
    return [json.dumps({"sizes": sizes}).encode() + b"\n", pixels.tobytes()]


if __name__ == "__main__":
    main()
