"""The stages that recipes and commands share: draw candidates, score them, measure a model.

Each goes from one table to the next and writes nothing else, so it can be run again, inspected or replaced.
"""

from selfportrait.stages._handing import hand_over
from selfportrait.stages.candidates import candidate_id, sample_candidates, save_candidates
from selfportrait.stages.evaluation import evaluate, verdicts
from selfportrait.stages.preferences import preference_rows
from selfportrait.stages.prompts import prompt_rows
from selfportrait.stages.scores import Judge, check_missing, save_scores, score

__all__ = [
    "Judge",
    "candidate_id",
    "check_missing",
    "evaluate",
    "hand_over",
    "preference_rows",
    "prompt_rows",
    "sample_candidates",
    "save_candidates",
    "save_scores",
    "score",
    "verdicts",
]
