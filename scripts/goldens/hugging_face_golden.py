"""Writes tests/fixtures/hugging_face: a small PaliGemma of transformers and what it computes.

Run: pip install torch==2.8.0 transformers==5.23.0 safetensors numpy
     python scripts/goldens/hugging_face_golden.py

model.safetensors has LeRobot's names for pi0-FAST (`model.paligemma_with_expert.paligemma.` in front of
Hugging Face's), weights from a formula, and a vocabulary with rows of padding. golden.json has the
projected image features and the logits of a prefix-LM pass in float64: images and prompt see one
another, what follows is causal.
"""

import json
import pathlib

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/hugging_face"
IMG = dict(imageSize=28, patch=14, width=24, depth=2, mlpDim=40, heads=3)
LLM = dict(width=32, depth=2, mlpDim=48, heads=4, headDim=8, vocab=90)
STORED_VOCAB = 96
CAMERAS = 3
PROMPT = [2, 7, 11, 89, 30]
POSTFIX = [20, 21, 3, 64]
PREFIX = "model.paligemma_with_expert.paligemma."

config = PaliGemmaConfig(
    vision_config=dict(
        model_type="siglip_vision_model",
        hidden_size=IMG["width"],
        intermediate_size=IMG["mlpDim"],
        num_hidden_layers=IMG["depth"],
        num_attention_heads=IMG["heads"],
        image_size=IMG["imageSize"],
        patch_size=IMG["patch"],
        projection_dim=LLM["width"],
        hidden_act="gelu_pytorch_tanh",
        layer_norm_eps=1e-6,
        vision_use_head=False,
    ),
    text_config=dict(
        model_type="gemma",
        hidden_size=LLM["width"],
        intermediate_size=LLM["mlpDim"],
        num_hidden_layers=LLM["depth"],
        num_attention_heads=LLM["heads"],
        num_key_value_heads=1,
        head_dim=LLM["headDim"],
        vocab_size=STORED_VOCAB,
        hidden_activation="gelu_pytorch_tanh",
        hidden_act="gelu_pytorch_tanh",
        rms_norm_eps=1e-6,
    ),
    projection_dim=LLM["width"],
    hidden_size=LLM["width"],
    image_token_index=STORED_VOCAB - 1,
)
config._attn_implementation = "eager"
model = PaliGemmaForConditionalGeneration(config).eval()

state = model.state_dict()
weights = {}
for k, name in enumerate(sorted(state)):
    count = state[name].numel()
    values = 0.25 * np.sin((np.arange(count) + 1) * (1.7 + 0.13 * k))
    if "layer_norm" in name or "layernorm.weight" in name and "vision" in name:
        values = values + (1 if name.endswith("weight") else 0)
    weights[name] = values.astype(np.float32).reshape(tuple(state[name].shape))
embedding = next(name for name in weights if name.endswith("embed_tokens.weight"))
for name in weights:
    if name.endswith("lm_head.weight"):
        weights[name] = weights[embedding].copy()
model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
model = model.double()

side = IMG["imageSize"]
pictures = [
    ((np.arange(side * side * 3) * 37 + 101 * camera) % 256).reshape(side, side, 3) for camera in range(CAMERAS)
]
pixels = torch.tensor(np.stack(pictures), dtype=torch.float64).permute(0, 3, 1, 2) / 127.5 - 1
with torch.no_grad():
    features = model.model.get_image_features(pixels).pooler_output
    text = model.model.language_model.embed_tokens(torch.tensor(PROMPT + POSTFIX[:-1]))
    x = torch.cat([features.reshape(-1, LLM["width"]), text])[None]
    prefix = features.shape[0] * features.shape[1] + len(PROMPT)
    order = torch.cumsum(torch.tensor([0] * prefix + [1] * (x.shape[1] - prefix)), 0)
    visible = order[None, :] <= order[:, None]
    mask = torch.zeros(visible.shape).double().masked_fill(~visible, -1e30)[None, None]
    hidden = model.model.language_model(
        inputs_embeds=x, attention_mask=mask, position_ids=torch.arange(x.shape[1])[None], use_cache=False
    ).last_hidden_state[0]
    logits = model.lm_head(hidden[prefix - 1 :])[:, : LLM["vocab"]]


def rounded(x):
    return [float(f"{v:.8g}") for v in x.reshape(-1).tolist()]


OUT.mkdir(parents=True, exist_ok=True)
save_file({PREFIX + name: value for name, value in sorted(weights.items())}, OUT / "model.safetensors")
golden = dict(
    transformers=transformers.__version__,
    siglip=IMG,
    gemma=LLM,
    prompt=PROMPT,
    postfix=POSTFIX,
    features=rounded(features),
    logits=rounded(logits),
)
(OUT / "golden.json").write_text(json.dumps(golden) + "\n")
print({name: list(value.shape) for name, value in weights.items()})
