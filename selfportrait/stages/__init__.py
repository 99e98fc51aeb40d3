"""The stages that recipes and commands share: from prompts to candidates, scores, preferences and a trained model.

Each goes from one table to the next and writes nothing else, so it can be run again, inspected or replaced.
"""

from selfportrait.stages._handing import hand_over
from selfportrait.stages.annotations import (
    Annotation,
    annotations_of,
    check_instances,
    instances_of,
    read_annotations,
    write_annotations,
)
from selfportrait.stages.calibration import calibrate_judge, read_warning
from selfportrait.stages.candidates import (
    candidate_id,
    draw_candidates,
    drawings,
    is_hard_negative,
    sample_candidates,
    save_candidates,
)
from selfportrait.stages.evaluation import Shown, drawn_by, evaluate, judge_pictures, judged, verdicts
from selfportrait.stages.given import GivenPair, GivenPicture, check_given_pairs, check_given_pictures
from selfportrait.stages.giving import give_pairs, give_pictures, give_scores, giving
from selfportrait.stages.instance_examples import check_have_instances, keep_examples
from selfportrait.stages.instances import AnyPair, Finders, find_instances
from selfportrait.stages.latent_training import Visits, train_on_latents
from selfportrait.stages.latents import Cut, StoredLatents, check_readable, encode_pairs
from selfportrait.stages.masks import make_masks
from selfportrait.stages.pair_training import Pairs, read_pairs, train_on_pairs
from selfportrait.stages.preferences import pair_rows, preference_rows, select_pairs
from selfportrait.stages.prompts import (
    Writers,
    base_prompts,
    can_draw,
    not_held_out,
    prompt_rows,
    read_prompts,
    write_prompts,
)
from selfportrait.stages.rounds import Round
from selfportrait.stages.sampler_steps import Sampler, StepPair, levels, walk
from selfportrait.stages.scores import Judge, check_missing, read_scores, save_scores, score, score_candidates
from selfportrait.stages.texts import StoredTexts, encode_texts
from selfportrait.stages.updates import Schedule, portions
from selfportrait.stages.watching import OWN, Watch, Watcher, watch, watchers
from selfportrait.stages.yields import check_pairs, write_yield

__all__ = [
    "OWN",
    "Annotation",
    "AnyPair",
    "Cut",
    "Finders",
    "GivenPair",
    "GivenPicture",
    "Judge",
    "Pairs",
    "Round",
    "Sampler",
    "Schedule",
    "Shown",
    "StepPair",
    "StoredLatents",
    "StoredTexts",
    "Visits",
    "Watch",
    "Watcher",
    "Writers",
    "annotations_of",
    "base_prompts",
    "calibrate_judge",
    "can_draw",
    "candidate_id",
    "check_given_pairs",
    "check_given_pictures",
    "check_have_instances",
    "check_instances",
    "check_missing",
    "check_pairs",
    "check_readable",
    "draw_candidates",
    "drawings",
    "drawn_by",
    "encode_pairs",
    "encode_texts",
    "evaluate",
    "find_instances",
    "give_pairs",
    "give_pictures",
    "give_scores",
    "giving",
    "hand_over",
    "instances_of",
    "is_hard_negative",
    "judge_pictures",
    "judged",
    "keep_examples",
    "levels",
    "make_masks",
    "not_held_out",
    "pair_rows",
    "portions",
    "preference_rows",
    "prompt_rows",
    "read_annotations",
    "read_pairs",
    "read_prompts",
    "read_scores",
    "read_warning",
    "sample_candidates",
    "save_candidates",
    "save_scores",
    "score",
    "score_candidates",
    "select_pairs",
    "train_on_latents",
    "train_on_pairs",
    "verdicts",
    "walk",
    "watch",
    "watchers",
    "write_annotations",
    "write_prompts",
    "write_yield",
]
