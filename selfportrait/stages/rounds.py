"""Where the tables of a round are, and which of them were given. Read this for the layout of a round's folder."""

from dataclasses import dataclass
from pathlib import Path

from selfportrait import store

__all__ = ["TABLES", "Round"]

STEP = "step-"
TABLES = ("prompts", "candidates", "scores", "preferences")  # each is made of the ones before it


@dataclass(frozen=True)
class Round:
    """The tables of one round, in the order in which they are made."""

    folder: Path

    @property
    def written(self) -> Path:
        """What a model wrote as base prompts, part by part; there only where it wrote them."""
        return self.folder / "written"

    @property
    def prompts(self) -> Path:
        """Base prompts with their questions, and the prompts that were made from them."""
        return self.folder / "prompts"

    @property
    def candidates(self) -> Path:
        """Pictures and their tokens."""
        return self.folder / "candidates"

    @property
    def scores(self) -> Path:
        """What the judge said of each candidate."""
        return self.folder / "scores"

    @property
    def calibration(self) -> Path:
        """The file that says whether the self-judge looks at pictures."""
        return self.folder / "calibration.json"

    @property
    def preferences(self) -> Path:
        """Pairs."""
        return self.folder / "preferences"

    @property
    def masks(self) -> Path:
        """Where each candidate of a pair shows the prompt's objects; there only where the weights are made of them."""
        return self.folder / "masks"

    @property
    def instances(self) -> Path:
        """What both pictures of a pair show, where, and in which it is better; there only where that is looked for."""
        return self.folder / "instances"

    @property
    def examples(self) -> Path:
        """A few pairs with their pictures and instances, to be looked at; there only with instances."""
        return self.folder / "examples"

    @property
    def latents(self) -> Path:
        """Pairs of pictures that somebody brought, as a diffusion or flow model has them."""
        return self.folder / "latents"

    @property
    def texts(self) -> Path:
        """The prompts of those pairs, as the model has them."""
        return self.folder / "texts"

    @property
    def training(self) -> Path:
        """Metrics and checkpoints."""
        return self.folder / "training"

    @property
    def given(self) -> Path:
        """The file that says which table was given, and from where; there only where one was."""
        return self.folder / "given.json"

    def is_given(self, table: str) -> bool:
        """Whether a table, or one that is made of it, was given: then nothing makes it.

        Raises ValueError where it was not given to the end.
        """
        if not self.given.exists():
            return False
        found = store.read_json(self.given)
        if not found["is_complete"]:
            raise ValueError(
                f"{self.folder} holds a part of {found['table']} from {found['from']}: run the command again that gave "
                "them"
            )
        return TABLES.index(table) <= TABLES.index(found["table"])

    def evaluation(self, when: str) -> Path:
        """The benchmark's pictures and verdicts, before or after training."""
        return self.folder / "evaluation" / when

    def evaluation_at(self, step: int) -> Path:
        """The same after so many updates, where the model was measured during training."""
        return self.evaluation(f"{STEP}{step:05d}")

    def evaluated_steps(self) -> list[int]:
        """The steps at which the model was measured during training, or is being measured."""
        folders = (path for path in (self.folder / "evaluation").glob(f"{STEP}*") if path.is_dir())
        return sorted(int(path.name.removeprefix(STEP)) for path in folders)

    def watch(self, when: str) -> Path:
        """What the judges that watch said of the pictures of an evaluation; there only where somebody watches."""
        return self.folder / "watch" / when
