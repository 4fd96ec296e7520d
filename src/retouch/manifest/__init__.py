"""The manifest: YAML read with its places, checked whole, and turned into frozen models.

`load` and `read` give a Loaded; every problem is told at once as `file:line:column: what; what to
do`. Nothing here knows a dialect, opens a picture or sends a byte.
"""

from retouch.manifest.document import Location
from retouch.manifest.loading import Loaded, load, read
from retouch.manifest.model import (
    Budget,
    ConfirmAbove,
    Input,
    Labels,
    Limits,
    Manifest,
    Model,
    Output,
    Poll,
    PromptTemplate,
    Provider,
    RunSettings,
    Sample,
)
from retouch.manifest.pricebook import PriceFile, load_prices
from retouch.manifest.prices import FilePrice, ImagePrice, Price
from retouch.manifest.urls import UnfitURL, base_url

__all__ = [
    "Budget",
    "ConfirmAbove",
    "FilePrice",
    "ImagePrice",
    "Input",
    "Labels",
    "Limits",
    "Loaded",
    "Location",
    "Manifest",
    "Model",
    "Output",
    "Poll",
    "Price",
    "PriceFile",
    "PromptTemplate",
    "Provider",
    "RunSettings",
    "Sample",
    "UnfitURL",
    "base_url",
    "load",
    "load_prices",
    "read",
]
