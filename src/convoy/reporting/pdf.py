"""Creates a PDF of a page with an installed program: Chromium prints the HTML, or LaTeX compiles the .tex."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from convoy.text import gettext as _
from convoy.text.lists import joined

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
MAC = ("Google Chrome", "Chromium", "Microsoft Edge")
COMPILERS = ("xelatex", "lualatex", "pdflatex")
PASSES = 2  # passes of LaTeX; the second one resolves references
MAX_SECONDS = 180


def program() -> Path:
    """Returns the first installed browser or LaTeX compiler. Raises ValueError without one."""
    applications = [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in MAC]
    for name in (*BROWSERS, *applications, *COMPILERS):
        if found := shutil.which(name):
            return Path(found)
    raise ValueError(
        _(
            "a PDF needs Chromium ({browsers}) or LaTeX ({compilers}), and neither is installed; --format html "
            "writes a page that any browser can print; --format docx and --format tex need neither program",
            browsers=joined(BROWSERS),
            compilers=joined(COMPILERS),
        )
    )


def is_browser(path: Path) -> bool:
    return path.stem not in COMPILERS


def print_html(browser: Path, html: str) -> bytes:
    with TemporaryDirectory(prefix="convoy-") as name:
        page, result = Path(name) / "page.html", Path(name) / "page.pdf"
        page.write_text(html, encoding="utf-8")
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={name}/profile"]
        options += (
            ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        )  # required by Chromium for root
        _run([str(browser), *options, f"--print-to-pdf={result}", page.as_uri()], Path(name), result)
        return result.read_bytes()


def compile_tex(compiler: Path, tex: bytes, folder: Path) -> bytes:
    """`folder` contains figures/."""
    with TemporaryDirectory(prefix="convoy-") as name:
        source, result = Path(name) / "page.tex", Path(name) / "page.pdf"
        source.write_bytes(tex)
        command = [
            str(compiler),
            "-no-shell-escape",
            "-interaction=nonstopmode",
            "-halt-on-error",
            f"-output-directory={name}",
            str(source),
        ]
        for _ in range(PASSES):
            _run(command, folder, result)
        return result.read_bytes()


def _run(command: list[str], folder: Path, result: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=MAX_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(_("{command} did not write a PDF: {error}", command=command[0], error=error)) from error
    if done.returncode or not result.is_file():
        lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
        problem = next((line for line in lines if line.startswith("!")), lines[-1] if lines else _("no message"))
        raise ValueError(
            _(
                "{command} did not write a PDF (exit code {returncode}): {problem}",
                command=command[0],
                returncode=done.returncode,
                problem=problem,
            )
        )
