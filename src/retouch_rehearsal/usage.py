"""What a request is said to have used, in tokens: an estimate, stated in one table.

Output: 1,290 tokens a picture, as Gemini 2.5 flash image makes. Input pictures: 258 a tile of
768 pixels; text: by characters. Only the output figure is the provider's (PROTOCOL §1, Billing).
A real server's counts vary (thinking, tiling); `varied` makes these vary too.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

from .refusal import JsonObject
from .sizes import Size

OUTPUT_TOKENS_PER_IMAGE = 1290
INPUT_TOKENS_PER_TILE = 258
TILE_PIXELS = 768
SVG_INPUT_TOKENS, SVG_OUTPUT_TOKENS, SVG_REASONING_TOKENS = 900, 2400, 800
LATIN_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request."""

    text_tokens: int = 0
    image_tokens: int = 0
    output_tokens: int = 0
    svg_input_tokens: int = 0
    svg_output_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """Text and pictures together."""
        return self.text_tokens + self.image_tokens

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def varied(self, inputs: float, outputs: float) -> Usage:
        """The tokens, more or fewer by these shares (-1 to 1), and never by a larger share."""
        return Usage(
            text_tokens=self.text_tokens + int(self.text_tokens * inputs),
            image_tokens=self.image_tokens + int(self.image_tokens * inputs),
            output_tokens=self.output_tokens + int(self.output_tokens * outputs),
            svg_input_tokens=self.svg_input_tokens + int(self.svg_input_tokens * inputs),
            svg_output_tokens=self.svg_output_tokens + int(self.svg_output_tokens * outputs),
        )

    def document(self) -> JsonObject:
        """The `usage` object of a reply."""
        return {
            "total_tokens": self.total_tokens,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "input_tokens_details": {
                "text_tokens": self.text_tokens,
                "image_tokens": self.image_tokens,
            },
        }


def svg_document(usage: Usage, author: str) -> JsonObject:
    """The `svg_usage` object of a reply."""
    given, made = usage.svg_input_tokens, usage.svg_output_tokens
    return {
        "model": author,
        "input_tokens": given,
        "output_tokens": made,
        "reasoning_tokens": min(made, SVG_REASONING_TOKENS),
        "total_tokens": given + made,
    }


def text_tokens(prompt: str) -> int:
    """About a token a wide (Chinese) character and one per four others, at least one."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in prompt)
    return max(1, wide + math.ceil((len(prompt) - wide) / LATIN_CHARACTERS_PER_TOKEN))


def picture_tokens(size: Size) -> int:
    """258 tokens a tile; a picture within 384 pixels is one tile."""
    if max(size) <= TILE_PIXELS // 2:
        return INPUT_TOKENS_PER_TILE
    tiles = math.ceil(size[0] / TILE_PIXELS) * math.ceil(size[1] / TILE_PIXELS)
    return INPUT_TOKENS_PER_TILE * tiles


def usage_of(prompt: str, inputs: list[Size], images: int, *, is_drawn: bool = False) -> Usage:
    """The usage of a synchronous request that made `images` pictures; `is_drawn`: an author wrote
    them down as SVG, which is counted apart."""
    drawn = images if is_drawn else 0
    return Usage(
        svg_input_tokens=drawn * SVG_INPUT_TOKENS,
        svg_output_tokens=drawn * SVG_OUTPUT_TOKENS,
        text_tokens=text_tokens(prompt),
        image_tokens=sum(map(picture_tokens, inputs)),
        output_tokens=images * OUTPUT_TOKENS_PER_IMAGE,
    )
