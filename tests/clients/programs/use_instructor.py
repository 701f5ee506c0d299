"""instructor: objects by tools and by a JSON schema."""

import os
from typing import Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel, ConfigDict


class Pet(BaseModel):
    """A pet."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog", "cat"]


client = OpenAI(base_url=f"{os.environ['LLMKIT_URL']}/v1", max_retries=0)
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
    made = instructor.from_openai(client, mode=mode)
    found = made.chat.completions.create(
        model="storyteller",
        response_model=Pet,
        messages=[{"role": "user", "content": "A pet, please."}],
        max_retries=1,
        max_tokens=80,
        seed=1,
    )
    assert found.kind in ("dog", "cat"), mode
print("done")
