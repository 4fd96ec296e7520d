"""What may stand in a path on any system: names of manifests and prompts, output templates.

pathvalidate 3.3 was tried in its place: it lets characters pass that nobody sees (U+200B, U+202E)
and the name `..`, and takes six times as long.
"""

from __future__ import annotations

import re
import unicodedata

MAXIMUM_NAME_BYTES = 200  # the usual limit is 255: `.rehearsal` and suffixes must fit

_FORBIDDEN = frozenset('/\\<>:"|?*')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")


def unfit_for_a_path(name: str) -> str:
    """Why `name` cannot be one part of a path on every system; empty if it can."""
    if not name.strip():
        return "it is blank"
    if name.strip(" ") != name or name.endswith("."):
        return "it begins or ends with a blank, or ends with a dot"
    for character in name:
        if character in _FORBIDDEN:
            return f"it holds `{character}`"
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return f"it holds the invisible character U+{ord(character):04X}"
    if _RESERVED.fullmatch(name):
        return "Windows reserves it"
    if len(name.encode()) > MAXIMUM_NAME_BYTES:
        return f"it is longer than {MAXIMUM_NAME_BYTES} bytes"
    return ""


def same_path(name: str) -> str:
    """What two names have in common that some file system takes for one (case, NFC and NFD)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def unfit_for_output(template: str) -> str:
    """Why an output template could leave the outputs folder; empty if, as written, it cannot."""
    if not template.strip():
        return "it is blank"
    if template.startswith(("/", "~")) or _DRIVE.match(template):
        return "it is not relative"
    if "\\" in template:
        return "it holds a backslash"
    parts = template.split("/")
    if ".." in parts or "." in parts:
        return "it holds a part `..` or `.`"
    if "" in parts:
        return "it holds an empty part"
    for character in template:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return f"it holds the invisible character U+{ord(character):04X}"
    return ""
