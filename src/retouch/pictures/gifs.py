"""How many frames a GIF has, without decoding it: for a message that says what was found."""

from __future__ import annotations


def gif_frames(data: bytes) -> int:
    """The number of image blocks, as far as the bytes go. Source: GIF89a specification."""
    frames = 0
    try:
        at = 13 + _table_bytes(data[10])
        while data[at] != 0x3B:
            if data[at] == 0x2C:
                frames += 1
                at += 10 + _table_bytes(data[at + 9]) + 1
            else:
                at += 2
            while data[at]:
                at += data[at] + 1
            at += 1
    except IndexError:
        pass  # cut short: the frames so far are what can be said
    return frames


def _table_bytes(flags: int) -> int:
    """Bytes of the colour table that the flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
