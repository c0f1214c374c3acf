"""The base of all API types: camelCase on the wire, unknown fields ignored, immutable."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "penstock.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class ApiModel(BaseModel):
    """One object of the API.

    Unknown fields are ignored, not refused: the API server has pruned them already, and an operator that is
    rolled back must be able to read objects that a newer one wrote.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    @classmethod
    def parse(cls, wire: Mapping[str, Any]) -> Self:
        """Return the typed form of ``wire``. Raises pydantic.ValidationError, which names the field."""
        return cls.model_validate(wire)

    def to_wire(self, *, exclude_defaults: bool = False) -> dict[str, Any]:
        """Return the JSON form with absent optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=exclude_defaults)
