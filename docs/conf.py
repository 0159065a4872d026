"""Sphinx: Markdown pages by MyST, the theme furo. `make docs` builds them."""

from importlib import metadata

project = "Convoy"
author = "The Convoy authors"
copyright = f"2026, {author}"  # noqa: A001 (Sphinx's name)
release = metadata.version("convoy-ml")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
add_module_names = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
default_role = "code"

html_theme = "furo"
html_title = f"Convoy {release}"
