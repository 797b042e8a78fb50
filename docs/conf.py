"""How the documentation is built: `make docs`, every warning an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from configuration_reference import reference_page

project = "Surface searcher"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "benchmarks/*.md"]
html_theme = "alabaster"
html_theme_options = {"description": "Finds out how an oxide's surface can end", "page_width": "70rem"}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
napoleon_preprocess_types = False
suppress_warnings = ["myst.xref_missing"]

(Path(__file__).parent / "configuration.md").write_text(reference_page(), encoding="utf-8")
