"""From a source to a table of prompts.

Read this to see how a prompt is stored.
"""

from collections.abc import Sequence
from typing import Any

from selfportrait.types import Prompt

__all__ = ["prompt_rows"]


def prompt_rows(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """Prompts as rows of prompts/."""
    return [
        {
            "id": prompt.id,
            "text": prompt.text,
            "category": prompt.category,
            "questions": [{"text": question.text, "answer": question.answer} for question in prompt.questions],
            "parent": prompt.parent,
            "role": prompt.role,
        }
        for prompt in prompts
    ]
