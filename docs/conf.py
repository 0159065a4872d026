"""Sphinx: Markdown pages and notebooks by MyST-NB, the theme furo. `make docs` builds them."""

import sys
from importlib import metadata
from pathlib import Path

project = "Convoy"
author = "The Convoy authors"
copyright = f"2026, {author}"  # noqa: A001 (Sphinx's name)
sys.path.insert(0, str(Path(__file__).parent))  # for the extensions "chinese" and "reference"
release = metadata.version("convoy-ml")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "chinese", "reference"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_pages"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # `make notebooks` executes them
add_module_names = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 90
autodoc_member_order = "bysource"
default_role = "code"

html_theme = "furo"
html_static_path = ["_static"]
html_extra_path = [name for name in ("_pages/studies",) if (Path(__file__).parent / name).is_dir()]  # by `make site`
html_css_files = ["tables.css"]
html_title = f"Convoy {release}"
