"""The manifest: YAML read with its places, checked whole, and turned into frozen models.

`load` and `read` give a Loaded; every problem is told at once as `file:line:column: what; what to
do`. Nothing here knows a dialect, opens a picture or sends a byte.
"""

from retouch.manifest.document import Location
from retouch.manifest.inputs import SOURCES, Input, Labels, Leaks, Sample, Splits
from retouch.manifest.kinds import offset_of, utc_offset
from retouch.manifest.loading import Loaded, load, read
from retouch.manifest.model import (
    Combine,
    Limits,
    Manifest,
    Model,
    Output,
    Poll,
    PromptTemplate,
    Provider,
)
from retouch.manifest.pricebook import PriceFile, load_prices
from retouch.manifest.prices import FilePrice, ImagePrice, Price, Sides, TokenTier, sides_in
from retouch.manifest.run_settings import (
    Budget,
    ConfirmAbove,
    Notify,
    PayAgain,
    RunSettings,
    UpTo,
)
from retouch.manifest.storage import Publish, Storage
from retouch.manifest.urls import UnfitURL, base_url, hook_url

__all__ = [
    "SOURCES",
    "Budget",
    "Combine",
    "ConfirmAbove",
    "FilePrice",
    "ImagePrice",
    "Input",
    "Labels",
    "Leaks",
    "Limits",
    "Loaded",
    "Location",
    "Manifest",
    "Model",
    "Notify",
    "Output",
    "PayAgain",
    "Poll",
    "Price",
    "PriceFile",
    "PromptTemplate",
    "Provider",
    "Publish",
    "RunSettings",
    "Sample",
    "Sides",
    "Splits",
    "Storage",
    "TokenTier",
    "UnfitURL",
    "UpTo",
    "base_url",
    "hook_url",
    "load",
    "load_prices",
    "offset_of",
    "read",
    "sides_in",
    "utc_offset",
]
