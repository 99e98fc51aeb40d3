"""The golden numbers of the method specification, where that lies beside the repository.

Every number here is also derived by hand in the tests of the function that has to reproduce it.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from selfportrait.asking.yes_no import Answer
from selfportrait.boxes import Geometry
from selfportrait.judges.self_vqa import SelfVqa
from selfportrait.losses._pairs import log_ratios
from selfportrait.losses.base import PairLogps, Term
from selfportrait.losses.dpo import dpo
from selfportrait.losses.gpo import gpo
from selfportrait.losses.ipo import ipo
from selfportrait.losses.kto import kto
from selfportrait.losses.sft import sft
from selfportrait.losses.simpo import simpo
from selfportrait.losses.spo import spo
from selfportrait.losses.sum import weighted_sum
from selfportrait.models import _ddim, _flow
from selfportrait.models.base import transition_logp
from selfportrait.selection.softmax import softmax
from selfportrait.types import Instance, Prompt, Question
from selfportrait.weights._masks import min_max, otsu, soften
from selfportrait.weights.instance_mask import instance_mask
from selfportrait.weights.object_mask import object_masks

FILE = next(
    (folder / "shared/golden.json" for folder in Path(__file__).parents if (folder / "shared/golden.json").is_file()),
    None,
)
GOLDEN = {case["id"]: case for case in json.loads(FILE.read_text())["cases"]} if FILE else {}
pytestmark = pytest.mark.skipif(not GOLDEN, reason="the method specification is not beside the repository")

Values = dict[str, Any]


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def pairs(chosen: Any, rejected: Any) -> PairLogps:
    """Pairs of one token."""
    return PairLogps.from_tokens(tensor(chosen).view(-1, 1), tensor(rejected).view(-1, 1))


def errors(values: Values) -> tuple[PairLogps, PairLogps]:
    """Mean squared errors of a diffusion model as log-likelihoods of policy and reference."""
    chosen, rejected = (tensor([-values[f"mse_{model}_{side}"] for model in ("policy", "ref")]) for side in "wl")
    return pairs(chosen[:1], rejected[:1]), pairs(chosen[1:], rejected[1:])


def objects() -> tuple[PairLogps, Values]:
    """The pair whose object is half of its tokens."""
    given = GOLDEN["obj_simpo_len"]["inputs"]
    sides = [tensor([given[f"logp_{side}"]]) for side in "wl"]
    weights = [1 + given["alpha"] * tensor([given[f"mask_{side}"]]) for side in "wl"]
    return PairLogps.from_tokens(*sides, *weights), given


def simpo_basic(given: Values) -> Values:
    loss = simpo(pairs(given["mean_logp_w"], given["mean_logp_l"]), None, beta=given["beta"], gamma=given["gamma"]).loss
    return {"per_pair": loss.tolist(), "mean": loss.mean().item()}


def obj_simpo_len(given: Values) -> Values:
    policy, _ = objects()
    output = simpo(policy, None, beta=given["beta"], gamma=given["gamma"], divide_by="tokens")
    reward = {name: output.metrics[f"reward/{name}"].item() / given["beta"] for name in ("chosen", "rejected")}
    return {"r_w": reward["chosen"], "r_l": reward["rejected"], "loss": output.loss.item()}


def ospo_total_sum_w(given: Values) -> Values:
    policy, numbers = objects()
    weighted = functools.partial(simpo, beta=numbers["beta"], gamma=numbers["gamma"])
    output = weighted_sum(policy, None, terms={"simpo": Term(weighted), "sft": Term(sft, given["lambda_sft"])})
    terms = {"obj_simpo": output.metrics["loss/simpo"].item(), "sft": output.metrics["loss/sft"].item()}
    return {**terms, "total": output.loss.item()}


def ospo_soft_mask_single_pixel(given: Values) -> Values:
    mask = torch.zeros(1, 24, 24)
    mask[0, 12, 12] = 1
    soft = soften(mask, 1.0)[0]
    offsets = [(0, 0), (0, 1), (1, 1), (0, 2), (2, 2), (0, 3)]
    return {f"offset({dy},{dx})": soft[12 + dy, 12 + dx].item() for dy, dx in offsets}


def ospo_soft_mask_degenerate(given: Values) -> Values:
    soft = soften(torch.ones(1, 24, 24), 1.0)[0]
    places = {
        "ones_corner(0,0)": (0, 0),
        "ones_edge(0,12)": (0, 12),
        "ones_(1,12)": (1, 12),
        "ones_centre(12,12)": (12, 12),
    }
    zeros = soften(torch.zeros(1, 24, 24), 1.0).abs().max().item()
    return {**{name: soft[place].item() for name, place in places.items()}, "zeros_any": zeros}


def ospo_otsu(given: Values) -> Values:
    maps = torch.tensor([[given["map"]]])
    threshold = otsu(maps.view(1, -1)).item()
    masks = {f"mask_scaler_{scale}": object_masks(maps, scale)[0].tolist() for scale in (0.8, 1.0)}
    return {"otsu": threshold, "threshold": given["scaler"] * threshold, **masks}


def ospo_attention_map(given: Values) -> Values:
    attention = min_max(tensor(given["layer1_attn_img_query_to_key1"]).view(1, 1, 2, 2))
    mask = object_masks(attention, 0.8).flatten().tolist()
    return {"map": attention.flatten().tolist(), "otsu": otsu(attention.view(1, -1)).item(), "mask_scaler_0.8": mask}


def vqa_score(given: Values) -> Values:
    pairs_of = given["p_yes_p_no_per_question"]
    prompt = Prompt("a", "a red star", questions=tuple(Question(f"{index}?") for index in range(len(pairs_of))))
    p_yes, p_no = torch.tensor(pairs_of, dtype=torch.float64).T
    policy = SimpleNamespace(answer=lambda images, questions: (p_yes, p_no))
    (score,) = SelfVqa(policy, 0)([prompt], [Image.new("RGB", (8, 8))])
    answers = [Answer(question, *pair) for question, pair in zip(prompt.questions, pairs_of, strict=True)]
    return {"s_k": [answer.difference for answer in answers], "S": score.value}


def dpo_discrete(given: Values) -> Values:
    output = dpo(pairs(given["pw"], given["pl"]), pairs(given["rw"], given["rl"]), beta=given["beta"])
    reward = {name: output.metrics[f"reward/{name}"].item() for name in ("chosen", "rejected", "margin")}
    delta = reward["margin"] / given["beta"]
    return {"delta": delta, "loss": output.loss.item(), "reward_w": reward["chosen"], "reward_l": reward["rejected"]}


def dpo_label_smoothing(given: Values) -> Values:
    policy, reference = pairs(given["pw"], given["pl"]), pairs(given["rw"], given["rl"])
    return {"cdpo": dpo(policy, reference, beta=given["beta"], label_smoothing=given["eps"]).loss.item()}


def ipo_averaged(given: Values) -> Values:
    return {"loss": ipo(pairs(given["avg_delta"], 0.0), pairs(0.0, 0.0), beta=given["beta"]).loss.item()}


def diffusion_dpo(given: Values) -> Values:
    return {"loss": dpo(*errors(given), beta=given["beta"] / 2).loss.item()}  # its equation keeps the half


def kto_discrete(given: Values) -> Values:
    # two desirable and two undesirable log-ratios are two pairs; the baseline is given, where kto takes a mean
    desirable, undesirable = given["logratio_sum"][:2], given["logratio_sum"][2:]
    shift = given["kl"] - max(0.0, sum(given["logratio_sum"]) / 4)
    policy = pairs([value - shift for value in desirable], [value - shift for value in undesirable])
    assert (policy.chosen.sum() + policy.rejected.sum()).item() < 0  # so the baseline stays 0
    output = kto(policy, pairs([0.0, 0.0], [0.0, 0.0]), beta=given["beta"])
    sides = [
        kto(policy, pairs([0.0, 0.0], [0.0, 0.0]), beta=given["beta"], undesirable_weight=0.0).loss * 2,
        kto(policy, pairs([0.0, 0.0], [0.0, 0.0]), beta=given["beta"], desirable_weight=0.0).loss * 2,
    ]
    return {"per_sample": torch.cat(sides).tolist(), "mean": output.loss.mean().item()}


def clipped(given: Values) -> Values:
    sides = {name: tensor(given[name]) for name in ("logp_w", "logp_l", "ref_logp_w", "ref_logp_l")}
    policy, reference = (pairs(sides[f"{model}logp_w"], sides[f"{model}logp_l"]) for model in ("", "ref_"))
    loss = spo(policy, reference, beta=given["beta"], clip=given["eps_clip"]).loss.item()
    return {"loss": loss}


def rwr(given: Values) -> Values:
    rewards, error = tensor([given["reward"]]), tensor([given["mse"]])
    temperature = given["temperature"] / rewards.std(correction=0).item()  # ours is in standard deviations
    advantages = softmax(rewards, temperature=temperature).advantages
    best = softmax(rewards, temperature=1e-3).advantages
    return {
        "sft_best_of_group": gpo(-error, None, best).loss.mean().item(),
        "softmax_weights": (advantages[0] / 3).tolist(),
        "rwr_softmax": gpo(-error, None, advantages).loss.mean().item(),
    }


def diffusion_dpo_zero(given: Values) -> Values:
    policy = pairs(-0.9, -0.95)
    return {"loss": dpo(policy, policy, beta=2500.0).loss.item()}


def vpred_conversion(given: Values) -> Values:
    abar, x0, eps, off = (wide(given[name]) for name in ("abar", "x0", "eps", "v_hat_minus_v"))
    abar = abar.view(1)
    noisy, v = _ddim.noised(x0, eps, abar), _ddim.target(x0, eps, abar, "velocity")
    x0_hat, eps_hat = _ddim.estimates(noisy, v + off, abar, "velocity")
    return conversion(noisy, v, eps_hat, x0_hat, off, eps, x0)


def flow_conversion(given: Values) -> Values:
    t, x0, eps, off = (wide(given[name]) for name in ("t", "x0", "eps", "v_hat_minus_v"))
    noisy, v = _flow.noised(x0, eps, t.view(1)), eps - x0
    x0_hat, eps_hat = _flow.estimates(noisy, v + off, t.view(1))
    return conversion(noisy, v, eps_hat, x0_hat, off, eps, x0)


def wide(values: Any) -> torch.Tensor:
    """As latents (1, 1, 1, W)."""
    return tensor(values).view(1, 1, 1, -1)


def conversion(*found: torch.Tensor) -> Values:
    noisy, v, eps_hat, x0_hat, off, eps, x0 = (one.flatten() for one in found)
    squares = {"mse_v": off, "mse_eps": eps_hat - eps, "mse_x0": x0_hat - x0}
    errors = {name: difference.square().mean().item() for name, difference in squares.items()}
    return {"x_t": noisy.tolist(), "v": v.tolist(), "eps_hat": eps_hat.tolist(), "x0_hat": x0_hat.tolist(), **errors}


def inverted(given: Values) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The latents, and where each step of the inversion under eps(x, t) = 0.3 x leads."""
    latents = wide(given["x0"])
    levels = [tensor([given["abar"][name]]) for name in ("0", "1", "101", "201")]
    steps = [latents]
    for abar, abar_to in zip(levels, levels[1:], strict=False):
        steps.append(_ddim.noised(*_ddim.estimates(steps[-1], 0.3 * steps[-1], abar, "epsilon"), abar_to))
    return latents, steps[1:]


def inpo_inversion_grid(given: Values) -> Values:
    latents, steps = inverted(given)
    noise = _ddim.noise_in(steps[-1], latents, tensor([given["abar"]["201"]]))
    return {"x_after_each_step": [step.flatten().tolist() for step in steps], "eps_star_at_201": noise.flatten()}


def inpo_reference_quirk(given: Values) -> Values:
    latents, steps = inverted(GOLDEN["inpo_inversion_grid"]["inputs"])
    return {"eps_star_as_in_repo": _ddim.noise_in(steps[-1], latents, tensor([given["abar_150"]])).flatten()}


def ddim_step_logprob(given: Values) -> Values:
    abar, abar_to = tensor([given["abar_t"]]), tensor([given["abar_prev"]])
    found = _ddim.estimates(tensor(given["sample"]), tensor(given["eps_pred"]), abar, "epsilon")
    mean, std = _ddim.ancestral(*found, abar, abar_to, given["eta"])
    logp = transition_logp(tensor(given["next"]), mean, std)
    return {"sigma": std.item(), "mean": mean.tolist(), "logprob_mean_over_dims": logp.item()}


def flow_grpo_sde(given: Values) -> Values:
    assert given["noise_level"] == _flow.NOISE_LEVEL
    sigma, to = tensor([given["sigma"]]), tensor([given["sigma_next"]])
    mean, std = _flow.sde(tensor(given["sample"]), tensor(given["v_pred"]), sigma, to)
    logp = transition_logp(tensor(given["next"]), mean, std)
    return {"mean": mean.tolist(), "std": std.item(), "logprob_mean_over_dims": logp.item()}


def iapo_mask_single(given: Values) -> Values:
    height, width = given["latent_hw"]
    geometry = Geometry.resizing((width, height), (width, height))
    instances = [
        Instance("it", box, box, bool(conflict)) for box, conflict in zip(given["boxes"], given["rho"], strict=True)
    ]
    weights = instance_mask(instances, geometry, geometry, (width, height), w_neg=given["w_neg"])
    return {"unit_mean": weights[0, 0].tolist()}


def iapo_loss(given: Values) -> Values:
    weights = {side: tensor(given[f"M_{side}"]) for side in "wl"}
    masked, plain = weighted_errors(given, weights), weighted_errors(given, dict.fromkeys("wl", tensor(1.0)))
    ratios = dict(zip("wl", log_ratios(*masked), strict=True))
    half = given["beta"] / 2  # its equation keeps the half
    return {
        **{f"d_{side}": -ratio.item() for side, ratio in ratios.items()},
        "loss": dpo(*masked, beta=half).loss.item(),
        "loss_with_unit_masks": dpo(*plain, beta=half).loss.item(),
    }


def weighted_errors(given: Values, weights: Values) -> tuple[PairLogps, PairLogps]:
    """Policy and reference: minus the weighted mean squared error of a diffusion model is a log-likelihood."""
    noise = tensor(given["eps_w=eps_l"])
    logps = {
        (model, side): -(weights[side] * (noise - tensor(given[f"{model}_{side}"])).square()).mean()
        for model in ("policy", "ref")
        for side in "wl"
    }
    return tuple(pairs(logps[model, "w"], logps[model, "l"]) for model in ("policy", "ref"))  # type: ignore[return-value]


FOUND: dict[str, Callable[[Values], Values]] = {
    "simpo_basic": simpo_basic,
    "obj_simpo_len": obj_simpo_len,
    "ospo_total_sum_w": ospo_total_sum_w,
    "ospo_soft_mask_single_pixel": ospo_soft_mask_single_pixel,
    "ospo_soft_mask_degenerate": ospo_soft_mask_degenerate,
    "ospo_otsu": ospo_otsu,
    "ospo_attention_map": ospo_attention_map,
    "vqa_score": vqa_score,
    "dpo_discrete": dpo_discrete,
    "dpo_label_smoothing": dpo_label_smoothing,
    "ipo": ipo_averaged,
    "flow_dpo": diffusion_dpo,
    "inpo_loss": diffusion_dpo,
    "diffusion_dpo_zero": diffusion_dpo_zero,
    "kto_discrete": kto_discrete,
    "spo_loss": clipped,
    "d3po_loss": clipped,
    "rwr": rwr,
    "vpred_conversion": vpred_conversion,
    "flow_conversion": flow_conversion,
    "inpo_inversion_grid": inpo_inversion_grid,
    "inpo_reference_quirk": inpo_reference_quirk,
    "ddim_step_logprob": ddim_step_logprob,
    "flow_grpo_sde": flow_grpo_sde,
}
LEFT_OUT = {
    "dpo_label_smoothing": {"robust"},
    "flow_dpo": {"inside"},
    "spo_loss": {"ratio_w", "ratio_l"},
    "d3po_loss": {"ratio_w", "ratio_l"},
    "rwr": {"rwr_raw_reward(flow_grpo repo)"},
    "flow_grpo_sde": {"sigma_t_diffusion"},
    "iapo_mask_single": iapo_mask_single,
    "iapo_loss": iapo_loss,
}
"""Numbers of a case that nothing in the package computes."""


@pytest.mark.parametrize("case", FOUND)
def test_the_number_of_the_specification(case: str) -> None:
    expected = {name: value for name, value in GOLDEN[case]["expected"].items() if name not in LEFT_OUT.get(case, ())}
    found = FOUND[case](GOLDEN[case]["inputs"])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(tensor(found[name]), tensor(value), atol=2e-6, rtol=0)
