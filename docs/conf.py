"""How the documentation is built: `make docs`, every warning an error."""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from configuration_reference import reference_page

project = "Surface searcher"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
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
html_math_renderer = "mathml"


def setup(app: Any) -> None:
    """Formulas as MathML, which browsers draw by themselves: the pages need no network."""
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_displayed_formula, None))


def _inline_formula(writer: Any, node: nodes.Element) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _displayed_formula(writer: Any, node: nodes.Element) -> None:
    writer.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


(Path(__file__).parent / "configuration.md").write_text(reference_page(), encoding="utf-8")
