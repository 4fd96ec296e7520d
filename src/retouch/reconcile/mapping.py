"""How a provider's bill is read, once found out: a small YAML that the next month takes.

`--save-profile FILE` writes it, `--profile FILE` takes it; what the command line says goes first.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retouch.errors import InputRefused, Problem
from retouch.text import one_clean_line


class Mapping(BaseModel):
    """What is said of a bill. Empty: nothing. `columns` by role, `models` theirs to ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: str = ""
    columns: dict[str, str] = Field(default_factory=dict)
    models: dict[str, str] = Field(default_factory=dict)
    utc_offset: str = ""
    currency: str = ""
    factor: str = ""
    quota_per_unit: str = ""

    def times(self) -> Decimal:
        """The factor between our amounts and the bill's: 1.06 for 6 % of tax. Raises
        InputRefused."""
        try:
            factor = Decimal(self.factor or 1)
        except InvalidOperation:
            factor = Decimal(0)
        if not factor.is_finite() or factor <= 0:
            raise InputRefused(f"--factor {self.factor}: write a number above zero, like 1.06")
        return factor

    def over(self, earlier: Mapping) -> Mapping:
        """This, and where it says nothing, what was said earlier."""
        said = {name: value for name, value in self.model_dump().items() if value}
        for name in ("columns", "models"):
            said[name] = getattr(earlier, name) | said.get(name, {})
        return Mapping.model_validate(earlier.model_dump() | said)

    def written(self) -> str:
        """As YAML, less what says nothing."""
        said = {name: value for name, value in self.model_dump().items() if value}
        return yaml.safe_dump(said, allow_unicode=True, sort_keys=False)


def read_mapping(file: str, text: bytes) -> Mapping:
    """A saved mapping. Raises InputRefused."""
    try:
        return Mapping.model_validate(yaml.safe_load(text) or {})
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError, RecursionError) as error:
        what = f"is no mapping of a bill: {one_clean_line(str(error), 200)}"
        raise InputRefused([Problem(file, 0, 0, what, "--save-profile writes one")]) from None
