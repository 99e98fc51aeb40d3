"""The 80 classes of COCO by whatever they are called: in a prompt, in GenEval, or in a checkpoint's own labels.

Read this to see which names a detector of COCO's classes can look for. Names are compared, never raw label strings:
a checkpoint may say "sofa", "motorbike" or "tvmonitor", and may number its classes up to 90 with gaps.
"""

import difflib
import re
from collections.abc import Mapping
from functools import cache

__all__ = ["LABELS", "label_of", "labels_by_id", "require"]

LABELS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""In the order of COCO's category ids."""

_OTHER_NAMES = {
    "person": "man, woman, boy, girl, child, human, adult, lady, gentleman, baby, kid, pedestrian",
    "bicycle": "bike",
    "car": "automobile, sedan, taxi, suv",
    "motorcycle": "motorbike, motor bike, motor cycle, scooter, moped",
    "airplane": "aeroplane, plane, aircraft, jet, airliner",
    "truck": "lorry, pickup truck, pickup",
    "boat": "ship, sailboat, sailing boat, rowboat, canoe, kayak, motorboat, yacht",
    "traffic light": "stoplight, traffic signal, stop light",
    "fire hydrant": "hydrant",
    "bird": "pigeon, sparrow, parrot, owl, duck, goose, seagull, eagle, crow, swan",
    "cat": "kitten, kitty",
    "dog": "puppy",
    "horse": "pony, foal",
    "sheep": "lamb, ram, ewe",
    "cow": "bull, calf, ox, cattle",
    "bear": "polar bear, brown bear, grizzly bear, black bear",
    "backpack": "rucksack, knapsack",
    "umbrella": "parasol",
    "handbag": "purse, hand bag",
    "tie": "necktie",
    "suitcase": "luggage, trunk",
    "frisbee": "flying disc",
    "skis": "ski",
    "sports ball": "ball, football, soccer ball, basketball, tennis ball, baseball, volleyball",
    "baseball glove": "baseball mitt",
    "tennis racket": "tennis racquet, racket, racquet",
    "wine glass": "wineglass, goblet",
    "cup": "mug, teacup, coffee cup",
    "donut": "doughnut",
    "hot dog": "hotdog",
    "couch": "sofa, settee",
    "potted plant": "pottedplant, houseplant, house plant, pot plant",
    "dining table": "diningtable, table",
    "tv": "tvmonitor, tv monitor, television, tv set, television set, telivision",
    "laptop": "notebook computer, laptop computer",
    "mouse": "computer mouse",
    "remote": "tv remote, remote control, tv remote control, television remote",
    "keyboard": "computer keyboard",
    "cell phone": "cellphone, mobile phone, phone, smartphone, telephone, mobile, smart phone",
    "microwave": "microwave oven",
    "refrigerator": "fridge",
    "clock": "alarm clock, wall clock",
    "teddy bear": "teddy",
    "hair drier": "hair dryer, hairdryer, hair drier, hairdrier",
    "toothbrush": "tooth brush",
}


@cache
def _names() -> dict[str, str]:
    others = {name.strip(): label for label, names in _OTHER_NAMES.items() for name in names.split(",")}
    return others | {label: label for label in LABELS}


def label_of(name: str) -> str | None:
    """The class that a name stands for, by the longest end of it that names one; None where it names none.

    "red apple" is an apple and "hot dog" no dog. An adjective that makes another thing of a noun is not known: a "sea
    horse" is taken for a horse.
    """
    words = re.sub(r"[\s_-]+", " ", name.lower()).split()
    words = words[1:] if words[:1] in (["a"], ["an"], ["the"]) else words
    ends = (" ".join(words[start:]) for start in range(len(words)))
    forms = (form for end in ends for form in (end, end.removesuffix("s"), end.removesuffix("es")))
    return next((label for form in forms if (label := _names().get(form))), None)


def require(name: str, detector: str) -> str:
    """The class that a name stands for; raises ValueError where it names none."""
    label = label_of(name)
    if label is None:
        close = difflib.get_close_matches(name.lower(), _names(), n=1, cutoff=0.7)
        hint = f"did you mean {close[0]!r}? Any" if close else "any"
        raise ValueError(
            f"{detector} cannot look for {name!r}, it knows COCO's 80 classes alone: {hint} other name needs a "
            "detector with an open vocabulary, such as owlv2 or grounding_dino"
        )
    return label


def labels_by_id(id2label: Mapping[int, str], where: str) -> dict[int, str]:
    """Which class each of a checkpoint's numbers stands for, by its own label; what is no COCO class is left out.

    Raises ValueError where no label is one, as in a config that numbers its classes without naming them.
    """
    found = {int(index): _names().get(re.sub(r"[\s_-]+", " ", label.lower())) for index, label in id2label.items()}
    known = {index: label for index, label in found.items() if label is not None}
    if not known:
        some = ", ".join(map(repr, list(id2label.values())[:3]))
        raise ValueError(
            f"{where} names none of COCO's classes (its labels are {some}, ...): give a checkpoint that was trained on "
            "COCO and says so in the id2label of its config.json"
        )
    return known
