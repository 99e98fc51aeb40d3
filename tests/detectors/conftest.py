"""Tiny checkpoints of the real classes with random weights; their labels are as odd as those of real ones."""

from pathlib import Path

import pytest

SIZE = {"height": 64, "width": 64}
EDGES = {"shortest_edge": 64, "longest_edge": 96}


def _labels(first: int = 0) -> dict[int, str]:
    from selfportrait.detectors._coco import LABELS

    odd = {"couch": "sofa", "motorcycle": "motorbike", "tv": "tvmonitor", "potted plant": "pottedplant"}
    return {first + index: odd.get(label, label) for index, label in enumerate(LABELS)}


def _save(model, processor, folder: Path) -> Path:
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _rt_detr(folder: Path) -> Path:
    from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection
    from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

    backbone = RTDetrResNetConfig(
        embedding_size=16, hidden_sizes=[16, 16, 32, 64], depths=[1] * 4, layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrV2Config(backbone_config=backbone, encoder_in_channels=[16, 32, 64], **_SMALL, id2label=_labels())
    return _save(RTDetrV2ForObjectDetection(config), RTDetrImageProcessorPil(size=SIZE), folder)


def _d_fine(folder: Path) -> Path:
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config
    from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 16, 32, 64], stage_mid_channels=[8, 8, 16, 16],
        stage_out_channels=[16, 32, 64, 64], stage_num_blocks=[1] * 4, stage_downsample=[False, True, True, True],
        stage_light_block=[False] * 4, stage_kernel_size=[3] * 4, stage_numb_of_layers=[1] * 4, embedding_size=8,
        hidden_sizes=[16, 32, 64, 64], depths=[1] * 4, out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = DFineConfig(backbone_config=backbone, encoder_in_channels=[32, 64, 64], **_SMALL, id2label=_labels())
    return _save(DFineForObjectDetection(config), RTDetrImageProcessorPil(size=SIZE), folder)


_SMALL = {
    "d_model": 32, "encoder_hidden_dim": 32, "feat_strides": [8, 16, 32], "encoder_layers": 1, "encoder_ffn_dim": 32,
    "encoder_attention_heads": 2, "decoder_layers": 2, "decoder_ffn_dim": 32, "decoder_attention_heads": 2,
    "num_queries": 10, "decoder_in_channels": [32, 32, 32], "num_denoising": 0,
}  # fmt: skip


def _yolos(folder: Path) -> Path:
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    config = YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=[64, 64],
        patch_size=16, num_detection_tokens=10, use_mid_position_embeddings=False,
        id2label={0: "N/A", **_labels(first=1)}, initializer_range=0.3,
    )  # fmt: skip
    return _save(YolosForObjectDetection(config), YolosImageProcessorPil(size=EDGES), folder)


def _mask2former(folder: Path) -> Path:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    backbone = SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, num_queries=6,
        id2label=_labels(), init_std=0.5,
    )  # fmt: skip
    return _save(Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessorPil(size=EDGES), folder)


def _owlv2(folder: Path) -> Path:
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2Processor
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(f"{letter}</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={**sizes, "vocab_size": len(words), "max_position_embeddings": 32, "eos_token_id": len(words) - 1},
        vision_config={**sizes, "image_size": 64, "patch_size": 16}, projection_dim=16,
    )  # fmt: skip
    tokenizer = CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])
    return _save(Owlv2ForObjectDetection(config), Owlv2Processor(Owlv2ImageProcessorPil(size=SIZE), tokenizer), folder)


_MAKERS = {"rt_detr": _rt_detr, "d_fine": _d_fine, "yolos": _yolos, "mask2former": _mask2former, "owlv2": _owlv2}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """The folder of the checkpoint of a component, made when it is first asked for: tiny("rt_detr")."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        import torch

        if name not in made:
            torch.manual_seed(0)
            made[name] = _MAKERS[name](tmp_path_factory.mktemp("models") / f"tiny-{name}")
        return made[name]

    return folder
