"""Inversion against a model whose steps are known: where it steps, what it tells the network, what noise it finds."""

from contextlib import contextmanager

import pytest
import torch

from selfportrait.draws.inversion import Inversion


class Rows(list[int]):
    """A conditioning that knows which rows are left."""

    def rows(self, index: torch.Tensor) -> "Rows":
        return Rows(self[row] for row in index.tolist())


class Walker:
    """A flow model whose velocity is constant: its inversion is exact whatever the steps; it writes them down."""

    def __init__(self, velocity: float) -> None:
        self.velocity = velocity
        self.steps: list[list[tuple[int, float, float, float | None]]] = []
        self.is_reference = False

    @contextmanager
    def reference(self):
        self.is_reference = True
        yield
        self.is_reference = False

    def step(self, noisy, conditioning, sigma, to, guidance_scale=1.0, label=None):
        assert not torch.is_grad_enabled()
        assert guidance_scale == 1.0
        labels = [None] * len(conditioning) if label is None else label.tolist()
        self.steps.append(list(zip(conditioning, sigma.tolist(), to.tolist(), labels, strict=True)))
        return noisy + (to - sigma)[:, None, None, None] * (self.velocity + self.is_reference)

    def noise_in(self, noisy, content, sigma):
        level = sigma[:, None, None, None]
        return (noisy - (1 - level) * content) / level


def invert(model: Walker, sigma: list[float], **settings) -> torch.Tensor:
    levels = torch.tensor(sigma)
    latents = torch.arange(float(len(sigma))).view(-1, 1, 1, 1)
    return Inversion(model, **settings).invert(latents, Rows(range(len(sigma))), levels)


def test_rows_take_as_many_steps_as_their_level_needs_in_common_forwards() -> None:
    model = Walker(0.5)
    invert(model, [0.05, 0.25, 1.0])
    assert [len(step) for step in model.steps] == [3, 2, 2, *[1] * 7]
    of_second = [(at, to) for step in model.steps for row, at, to, _ in step if row == 1]
    assert of_second == [(pytest.approx(a), pytest.approx(b)) for a, b in ((0, 1 / 12), (1 / 12, 1 / 6), (1 / 6, 0.25))]
    assert of_second[-1][1] == 0.25  # at sigma itself, to the last bit


def test_the_noise_leads_from_the_clean_to_the_noisy_latent() -> None:
    # x_t = x_0 + t v, and (1 - t) x_0 + t noise = x_t gives noise = x_0 + v at every level
    found = invert(Walker(0.5), [0.05, 0.25, 1.0]).flatten()
    assert found.tolist() == pytest.approx([0.5, 1.5, 2.5])


def test_each_row_alone_finds_the_same() -> None:
    together = invert(Walker(0.3), [0.7, 0.7])
    assert torch.equal(together[:1], invert(Walker(0.3), [0.7]))


def test_latents_of_half_precision_are_inverted_in_float32() -> None:
    latents, sigma = torch.ones(1, 1, 1, 1, dtype=torch.bfloat16), torch.tensor([0.7])
    found = Inversion(Walker(0.5)).invert(latents, Rows([0]), sigma)
    assert found.dtype is torch.float32
    assert torch.equal(found, Inversion(Walker(0.5)).invert(latents.float(), Rows([0]), sigma))


def test_the_reference_can_invert() -> None:
    assert invert(Walker(0.5), [0.5], inverter="reference").item() == pytest.approx(1.5)


def test_the_published_grid() -> None:
    # t = 150: origins -99 and 1 and 101 are below it, so x ends at 201; labels are the origins
    model = Walker(0.5)
    invert(model, [0.1505], grid="legacy")
    steps = [(1000 * at - 0.5, 1000 * to - 0.5, 1000 * label - 0.5) for ((_, at, to, label),) in model.steps]
    expected = [(0, 1, -99), (1, 101, 1), (101, 201, 101)]
    assert steps == [tuple(pytest.approx(value, abs=1e-3) for value in step) for step in expected]


@pytest.mark.parametrize(("timestep", "last"), [(0, 1), (1, 1), (2, 101), (901, 901), (999, 901)])
def test_where_the_published_grid_ends(timestep: int, last: int) -> None:
    model = Walker(0.5)
    invert(model, [(timestep + 0.5) / 1000], grid="legacy")
    assert 1000 * model.steps[-1][0][2] - 0.5 == pytest.approx(last, abs=1e-3)


def test_levels_are_drawn_as_by_forward_noise_one_a_pair() -> None:
    drawn = Inversion(Walker(0.5))(torch.zeros(3, 2, 1, 4, 4), torch.Generator().manual_seed(0))
    assert drawn.sigma.shape == (3, 2)
    assert torch.equal(drawn.sigma[:, 0], drawn.sigma[:, 1])
    assert ((drawn.sigma > 0) & (drawn.sigma <= 1)).all()
