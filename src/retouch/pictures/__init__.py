"""Pictures as files and bytes: what they are, whether they are whole, and what is sent of them.

`inspect` opens a file before anything is paid for and decodes it whole; `shape` is the cheap
check of what a server answered; `payload` gives the bytes to send. Only PNG, JPEG and WEBP are
ever decoded, and never more pixels than PIXEL_CAP; any failure is a bad picture with its reason.
"""

from retouch.pictures.facts import BadPicture, Facts, Role
from retouch.pictures.inspecting import PIXEL_CAP, header_facts, inspect, inspect_data
from retouch.pictures.payloads import SourceChanged, converted_mode, needs_conversion, payload
from retouch.pictures.sniffing import called, sniff
from retouch.pictures.structure import Skeleton, measure, shape
from retouch.storage.reading import FILE_CAP_BYTES

__all__ = [
    "FILE_CAP_BYTES",
    "PIXEL_CAP",
    "BadPicture",
    "Facts",
    "Role",
    "Skeleton",
    "SourceChanged",
    "called",
    "converted_mode",
    "header_facts",
    "inspect",
    "inspect_data",
    "measure",
    "needs_conversion",
    "payload",
    "shape",
    "sniff",
]
