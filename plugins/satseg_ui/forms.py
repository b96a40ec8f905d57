"""Fields that several forms have."""

from typing import Annotated

from pydantic import Field

# PostgreSQL keeps no text with the character 0
Reason = Annotated[
    str,
    Field(
        max_length=2000,
        pattern=r"^[^\x00]*$",
        description="Kept with the decision.",
        examples=["asked for by the city"],
    ),
]
