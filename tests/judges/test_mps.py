"""MPS against a forward written token by token, its mask, batches, and the file that is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_judges import TEXT_LENGTH, clip_sizes, clip_tokenizer, randomized

from selfportrait.judges import mps
from selfportrait.judges._cross_model import CrossModel
from selfportrait.judges._pictures import cropped
from selfportrait.judges.mps import CONDITION, Mps, Network

CROSS = {"layers": 2, "heads": 2, "head_width": 4}


def new_network() -> Network:
    return randomized(Network(clip_sizes(), CROSS), seed=2)


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The weights by the names of the published module."""
    monkeypatch.setattr(mps, "VIT_H_14", clip_sizes())
    monkeypatch.setattr(mps, "CROSS", CROSS)
    state = {"model.text_model.embeddings.position_ids": torch.arange(TEXT_LENGTH)[None]}
    for key, value in new_network().state_dict().items():
        layer, _, rest = key.removeprefix("cross_model.layers.").partition(".")
        name = f"cross_model.layers.{layer}.{rest[0]}.fn{rest[1:]}" if key.startswith("cross_model") else key
        state[name] = value.contiguous()
    state["cross_model.layers.0.1.fn.rotary_emb.inv_freq"] = torch.zeros(2)
    save_file(state, tmp_path / "mps.safetensors")
    return str(tmp_path / "mps.safetensors")


def cross_by_hand(
    state: dict[str, torch.Tensor], x: torch.Tensor, context: torch.Tensor, kept: list[int]
) -> torch.Tensor:
    """Two layers on one picture (T, 16) and one text (L, 16), a token and a head at a time."""

    def norm(name: str) -> torch.Tensor:
        mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt() * state[f"{name}.norm.weight"] + state[f"{name}.norm.bias"]

    def gated(y: torch.Tensor) -> torch.Tensor:
        value, gate = y[:, :64], y[:, 64:]
        return value * gate / (1 + (-gate).exp())

    def turned(vector: torch.Tensor, position: int) -> torch.Tensor:
        """Channels 0 and 2 are one plane and 1 and 3 the other; they turn by 1 and 1/100 a position."""
        a = torch.tensor([position * 1.0, position * 0.01])
        first, second = vector[:2], vector[2:]
        return torch.cat([first * a.cos() - second * a.sin(), second * a.cos() + first * a.sin()])

    def attended(queries: list[torch.Tensor], keys: list[torch.Tensor], values: list[torch.Tensor]) -> torch.Tensor:
        rows = []
        for query in queries:
            weights = torch.stack([query @ key / 2 for key in keys]).softmax(0)  # 2 is the root of 4
            rows.append(sum(weight * value for weight, value in zip(weights, values, strict=True)))
        return torch.stack(rows)

    for layer in range(2):
        name = f"cross_model.layers.{layer}.0"
        y = norm(name)
        q, kv = y @ state[f"{name}.to_q.weight"].T, context @ state[f"{name}.to_kv.weight"].T
        keys, values = ([kv[i, part] for i in kept] for part in (slice(0, 4), slice(4, 8)))
        heads = [attended(list(q[:, 4 * head : 4 * head + 4]), keys, values) for head in range(2)]
        ff = gated(y @ state[f"{name}.ff.0.weight"].T) @ state[f"{name}.ff.2.weight"].T
        x = x + torch.cat(heads, 1) @ state[f"{name}.to_out.weight"].T + ff
        name = f"cross_model.layers.{layer}.1"
        fused = norm(name) @ state[f"{name}.fused_attn_ff_proj.weight"].T  # 2 heads of 4, a key, a value, 2 x 64
        keys = [turned(row, position) for position, row in enumerate(fused[:, 8:12])]
        heads = [
            attended(
                [turned(row, position) for position, row in enumerate(fused[:, 4 * head : 4 * head + 4])],
                keys,
                list(fused[:, 12:16]),
            )
            for head in range(2)
        ]
        ff = gated(fused[:, 16:]) @ state[f"{name}.ff_out.1.weight"].T
        x = x + torch.cat(heads, 1) @ state[f"{name}.attn_out.weight"].T + ff
    return x


def test_the_cross_network_by_hand() -> None:
    network = new_network()
    generator = torch.Generator().manual_seed(0)
    x, context = torch.randn(1, 5, 16, generator=generator), torch.randn(1, 6, 16, generator=generator)
    mask = torch.tensor([[True, False, True, True, False, False]])
    with torch.no_grad():
        found = network.cross_model(x, context, mask)[0]
        expected = cross_by_hand(network.state_dict(), x[0], context[0], kept=[0, 2, 3])
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_score_by_hand(checkpoint: str, clip_folder: Path, prompts, pictures, monkeypatch) -> None:
    judge = Mps(path=checkpoint, tokenizer=str(clip_folder), device="cpu")
    network, tokenizer = new_network(), clip_tokenizer()
    settings = {"padding": "max_length", "truncation": True, "max_length": TEXT_LENGTH, "return_tensors": "pt"}
    with torch.no_grad():
        text, condition = (tokenizer(one, **settings)["input_ids"] for one in (prompts[0].text, CONDITION))
        tokens, end = network.texts(text)
        words, _ = network.texts(condition)
        near = torch.einsum("bid,bjd->bji", tokens, words).amax(1)[0]
        ratio = near / near.max()
        monkeypatch.setattr(mps, "THRESHOLD", float(ratio.median()))  # the published one keeps all of random weights
        (score,) = judge(prompts[:1], pictures[:1])
        kept = [index for index, one in enumerate(ratio) if one > mps.THRESHOLD]
        assert 0 < len(kept) < TEXT_LENGTH  # the mask says something
        picture = network.pictures(cropped(pictures[0], 32)[None])
        seen = cross_by_hand(network.state_dict(), picture[0], tokens[0], kept)[0]
        cosine = torch.nn.functional.cosine_similarity(seen, end[0], dim=0)
        expected = float(network.model.logit_scale.exp() * cosine)
    assert score.value == pytest.approx(expected, abs=1e-4)


def test_batches_and_repeats_change_no_score(checkpoint: str, clip_folder: Path, prompts, pictures, counted) -> None:
    judge = Mps(path=checkpoint, tokenizer=str(clip_folder), device="cpu", batch_size=3)
    seen = counted(judge._loaded[0].model.vision_model, "pixel_values")
    together = [score.value for score in judge(prompts, pictures)]
    assert seen == [3, 1]
    one = Mps(path=checkpoint, tokenizer=str(clip_folder), device="cpu", batch_size=1)
    alone = [one([prompt], [picture])[0].value for prompt, picture in zip(prompts, pictures, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(alone)) == 5


def test_a_pickled_module_is_refused(tmp_path: Path, clip_folder: Path, prompts, pictures) -> None:
    torch.save(CrossModel(8, layers=1, heads=1, head_width=4), tmp_path / "MPS_overall_checkpoint.pth")
    judge = Mps(path=str(tmp_path / "MPS_overall_checkpoint.pth"), tokenizer=str(clip_folder), device="cpu")
    with pytest.raises(ValueError, match=r"could run code: save its state_dict\(\) as safetensors"):
        judge(prompts, pictures)
