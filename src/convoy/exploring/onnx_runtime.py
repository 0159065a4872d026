"""The files of onnxruntime-web that are embedded in a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convoy.text import gettext as _

# The smallest build with all operations, without WebGPU and WebNN, which double its size.
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
DEFAULT_FOLDER = Path("node_modules", "onnxruntime-web", "dist")


@dataclass(frozen=True)
class OnnxRuntime:
    module: bytes
    wasm: bytes


def read_runtime(folder: Path) -> OnnxRuntime:
    """Raises ValueError if a file is missing."""
    for name in (MODULE, WASM):
        if not (folder / name).is_file():
            raise ValueError(
                _(
                    "{file} does not exist: --engine onnx needs the folder dist of the npm package onnxruntime-web; "
                    "install it with `npm install onnxruntime-web`, or set its folder with --ort",
                    file=folder / name,
                )
            )
    module = (folder / MODULE).read_text(encoding="utf-8").partition("\n//# sourceMappingURL=")[0]
    return OnnxRuntime(module.encode(), (folder / WASM).read_bytes())
