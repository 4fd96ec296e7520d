"""The pages of `report/`: rendered by jinja2, written whole, with the scripts beside them.

Every value is escaped by the templates, for names, prompts and errors came from outside. Pages
name no address but their own files, and their policy allows nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from retouch.review.costs import Costs
from retouch.review.document import About, Plain, readable
from retouch.storage.durable import make_folder, replace_whole

if TYPE_CHECKING:
    import jinja2

FOLDER = "report"
STATIC = (
    "style.css", "icon.svg", "text.js", "data.js", "marks.js", "filters.js", "grid.js",
    "viewer.js", "live.js", "gallery.js", "costs.js",
)  # fmt: skip
DATA = "data/gallery.js"
_GALLERY = ("text", "data", "marks", "filters", "grid", "viewer", "live")
_COSTS = ("text", "data", "marks")


def index_page(about: About) -> str:
    """The gallery."""
    scripts = [*(f"static/{name}.js" for name in _GALLERY), DATA, "static/gallery.js"]
    return _render("index.html", about=about, here="index.html", scripts=scripts)


def costs_page(about: About, costs: Costs) -> str:
    """The costs, each number with a link to its jobs."""
    scripts = [*(f"static/{name}.js" for name in _COSTS), DATA, "static/costs.js"]
    return _render(
        "costs.html", about=about, here="costs.html", scripts=scripts, costs=costs, links=True
    )


def costs_alone(about: About, costs: Costs) -> str:
    """The costs as one file that needs no other: to be sent around. It has no script at all."""
    style = static("style.css").decode()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    from markupsafe import Markup  # noqa: PLC0415 - start-up time

    # The style is the package's own, and must stand as it is for its digest to hold.
    safe = Markup(style)  # noqa: S704
    return _render(
        "costs.html", about=about, here="", scripts=(), costs=costs, links=False, style=safe,
        style_digest=digest,
    )  # fmt: skip


def data_script(document: Plain) -> bytes:
    """The document as a script: pages from disk may load scripts, and may not fetch."""
    return b"globalThis.retouchGallery = " + orjson.dumps(document) + b";\n"


@cache
def static(name: str) -> bytes:
    """One of the files in `STATIC`."""
    return files("retouch.review").joinpath("static", name).read_bytes()


def write_pages(report: Path, about: About, document: Plain, costs: Costs) -> None:
    """Write all pages into the folder, each file replaced whole. Raises StorageFailed."""
    for folder in (report / "static", report / "data"):
        make_folder(folder)
    for name in STATIC:
        replace_whole(report / "static" / name, static(name))
    replace_whole(report / DATA, data_script(document))
    replace_whole(report / "costs.html", costs_page(about, costs).encode())
    replace_whole(report / "index.html", index_page(about).encode())


def _render(name: str, **values: object) -> str:
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - start-up time: most reviews are tables

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("retouch.review"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["readable"] = readable
    environment.globals.update(style="", style_digest="")
    return environment
