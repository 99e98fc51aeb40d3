"""Judges of the CLIP family on tiny random checkpoints: what they compute, once, in batches or alone."""

import math
from pathlib import Path

import pytest
import torch
from tiny_judges import TEXT_LENGTH, clip_sizes, clip_tokenizer, new_clip

from selfportrait.judges import hps
from selfportrait.judges._open_clip import clip_of_open_clip
from selfportrait.judges._pictures import cropped, padded
from selfportrait.judges.clip_score import FORMS, ClipScore
from selfportrait.judges.hps import ORIGIN, Hps
from selfportrait.judges.pick_score import PickScore
from selfportrait.types import Prompt


def values(scores):
    assert all(score.reason is None for score in scores)
    return [score.value for score in scores]


def reference_cosine(folder: Path, text: str, pixels: torch.Tensor) -> float:
    """The library's own forward, without padding: it normalizes and compares by itself."""
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    ids = torch.tensor([clip_tokenizer()(text)["input_ids"]])
    with torch.no_grad():
        output = model(input_ids=ids, pixel_values=pixels[None])
    return float(output.logits_per_image) / float(model.logit_scale.detach().exp())


@pytest.mark.parametrize("judge", [ClipScore, PickScore, Hps])
def test_batches_and_repeats_change_no_score(judge, clip_folder: Path, prompts, pictures) -> None:
    beside = {} if judge is ClipScore else {"tokenizer": str(clip_folder)}
    together = values(judge(path=str(clip_folder), device="cpu", batch_size=3, **beside)(prompts, pictures))
    one = judge(path=str(clip_folder), device="cpu", batch_size=1, **beside)
    alone = [one([prompt], [picture])[0].value for prompt, picture in zip(prompts, pictures, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) == 5
    assert values(one(prompts[::-1], pictures[::-1]))[::-1] == pytest.approx(alone, abs=1e-5)


def test_clip_score_is_the_librarys_cosine(clip_folder: Path, prompts, pictures) -> None:
    found = values(ClipScore(path=str(clip_folder), device="cpu")(prompts, pictures))
    expected = [
        reference_cosine(clip_folder, prompt.text, cropped(picture, 32))
        for prompt, picture in zip(prompts, pictures, strict=True)
    ]
    assert found == pytest.approx(expected, abs=1e-6)


def test_forms_of_clip_score(clip_folder: Path, prompts, pictures) -> None:
    cosine, percent, hessel = (
        values(ClipScore(path=str(clip_folder), device="cpu", form=form)(prompts, pictures))
        for form in ("cosine", "percent", "hessel")
    )
    assert percent == pytest.approx([100 * one for one in cosine])
    assert hessel == pytest.approx([2.5 * one for one in cosine])
    assert [FORMS[form](-0.1) for form in ("cosine", "percent", "hessel")] == [-0.1, 0, 0]


def test_a_prefix_is_part_of_the_prompt(clip_folder: Path, pictures) -> None:
    judge = ClipScore(path=str(clip_folder), device="cpu", prefix="a photo of ")
    plain = ClipScore(path=str(clip_folder), device="cpu")
    assert judge([Prompt("p", "a cow")], pictures[:1]) == plain([Prompt("p", "a photo of a cow")], pictures[:1])


def test_pick_score_is_the_cosine_times_the_networks_scale(clip_folder: Path, prompts, pictures) -> None:
    cosine = values(ClipScore(path=str(clip_folder), device="cpu")(prompts, pictures))
    found = values(PickScore(path=str(clip_folder), tokenizer=str(clip_folder), device="cpu")(prompts, pictures))
    assert found == pytest.approx([math.exp(2.6592) * one for one in cosine], abs=1e-5)


def test_each_text_and_picture_is_embedded_once(clip_folder: Path, prompts, pictures, counted) -> None:
    judge = ClipScore(path=str(clip_folder), device="cpu", batch_size=3)
    texts = counted(judge._towers.model.text_model, "input_ids")
    seen = counted(judge._towers.model.vision_model, "pixel_values")
    judge(prompts, pictures)
    assert texts == [3, 1]  # of 5 prompts 4 are distinct
    assert seen == [3, 1]


def test_what_a_prompt_has_too_many_tokens_is_said(clip_folder: Path, pictures, caplog) -> None:
    judge = ClipScore(path=str(clip_folder), device="cpu")
    long = " ".join(["cat"] * 30)
    scores = judge([Prompt("0", long), Prompt("1", long + " red"), Prompt("2", "cat")], [pictures[0]] * 3)
    room = TEXT_LENGTH - 2  # two are the start and the end of the text
    assert [score.details["cut_tokens"] for score in scores] == [30 - room, 31 - room, 0]
    assert scores[0].value == pytest.approx(scores[1].value)
    assert "2 prompts are longer than 24 tokens" in caplog.text


def open_clip_state(model) -> dict[str, torch.Tensor]:
    """The weights of a CLIPModel by the names of open_clip."""
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("position_ids")}
    found = {
        "logit_scale": state["logit_scale"],
        "text_projection": state["text_projection.weight"].T.contiguous(),
        "visual.proj": state["visual_projection.weight"].T.contiguous(),
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "attn_mask": torch.zeros(2, 2),  # a buffer that some files hold
    }
    for end in ("weight", "bias"):
        found[f"ln_final.{end}"] = state[f"text_model.final_layer_norm.{end}"]
        found[f"visual.ln_pre.{end}"] = state[f"vision_model.pre_layrnorm.{end}"]
        found[f"visual.ln_post.{end}"] = state[f"vision_model.post_layernorm.{end}"]
        for ours, theirs in (("text_model", "transformer"), ("vision_model", "visual.transformer")):
            for layer in range(2):
                a, b = f"{ours}.encoder.layers.{layer}", f"{theirs}.resblocks.{layer}"
                three = [state[f"{a}.self_attn.{letter}_proj.{end}"] for letter in "qkv"]
                found[f"{b}.attn.in_proj_{end}"] = torch.cat(three)
                found[f"{b}.attn.out_proj.{end}"] = state[f"{a}.self_attn.out_proj.{end}"]
                found[f"{b}.ln_1.{end}"] = state[f"{a}.layer_norm1.{end}"]
                found[f"{b}.ln_2.{end}"] = state[f"{a}.layer_norm2.{end}"]
                found[f"{b}.mlp.c_fc.{end}"] = state[f"{a}.mlp.fc1.{end}"]
                found[f"{b}.mlp.c_proj.{end}"] = state[f"{a}.mlp.fc2.{end}"]
    return found


def open_clip_blocks(state, prefix: str, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Two residual blocks as open_clip writes them: torch's own attention on the joined matrix, then the MLP."""
    functional = torch.nn.functional

    def weights(*names: str) -> list[torch.Tensor]:
        return [state[f"{prefix}.resblocks.{layer}.{name}"] for name in names]

    for layer in range(2):
        attention = torch.nn.MultiheadAttention(32, 2, batch_first=True).eval()
        attention.load_state_dict(
            {
                name: state[f"{prefix}.resblocks.{layer}.attn.{name}"]
                for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
            }
        )
        y = functional.layer_norm(x, (32,), *weights("ln_1.weight", "ln_1.bias"))
        x = x + attention(y, y, y, need_weights=False, attn_mask=mask)[0]
        y = functional.layer_norm(x, (32,), *weights("ln_2.weight", "ln_2.bias"))
        y = functional.gelu(functional.linear(y, *weights("mlp.c_fc.weight", "mlp.c_fc.bias")))
        x = x + functional.linear(y, *weights("mlp.c_proj.weight", "mlp.c_proj.bias"))
    return x


def open_clip_cosine(state, ids: torch.Tensor, pixels: torch.Tensor) -> float:
    """The cosine between a text and a picture, written from open_clip's layout alone."""
    functional = torch.nn.functional

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, (32,), state[f"{name}.weight"], state[f"{name}.bias"])

    length = ids.shape[1]
    mask = torch.full((length, length), -torch.inf).triu(1)
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][:length]
    x = norm(open_clip_blocks(state, "transformer", x, mask), "ln_final")
    text = x[0, ids[0].argmax()] @ state["text_projection"]  # the end of the text has the highest id
    x = functional.conv2d(pixels[None], state["visual.conv1.weight"], stride=8).flatten(2).transpose(1, 2)
    x = torch.cat([state["visual.class_embedding"].expand(1, 1, 32), x], 1) + state["visual.positional_embedding"]
    x = open_clip_blocks(state, "visual.transformer", norm(x, "visual.ln_pre"), None)
    picture = norm(x[0, 0], "visual.ln_post") @ state["visual.proj"]
    return float(functional.cosine_similarity(text, picture, dim=0))


def test_a_published_hps_file_is_that_network(
    tmp_path: Path, clip_folder: Path, prompts, pictures, monkeypatch
) -> None:
    model = new_clip(seed=5)
    torch.save({"epoch": 1, "state_dict": open_clip_state(model)}, tmp_path / "HPS.pt")
    monkeypatch.setattr(hps, "VIT_H_14", clip_sizes())
    judge = Hps(path=str(tmp_path / "HPS.pt"), tokenizer=str(clip_folder), device="cpu")
    found = values(judge(prompts, pictures))
    for key, value in judge._towers.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    with torch.no_grad():
        expected = [
            open_clip_cosine(
                open_clip_state(model), torch.tensor([clip_tokenizer()(prompt.text)["input_ids"]]), padded(picture, 32)
            )
            for prompt, picture in zip(prompts, pictures, strict=True)
        ]
    assert found == pytest.approx(expected, abs=1e-5)


def test_another_network_is_refused_in_one_sentence() -> None:
    state = open_clip_state(new_clip())
    state["text_projection"] = torch.zeros(32, 8)
    state["extra.weight"] = state.pop("visual.proj")
    with pytest.raises(ValueError, match="HPS.pt is not HPS v2") as caught:
        clip_of_open_clip(state, clip_sizes(), "HPS.pt", ORIGIN)
    said = str(caught.value)
    assert "1 missing (visual_projection.weight)" in said
    assert "1 unexpected (extra.weight)" in said
    assert "1 of another shape (text_projection.weight (8, 32) instead of (16, 32))" in said
    assert "https://huggingface.co/xswu/HPSv2" in said
    assert "\n" not in said
