"""Writes tests/fixtures/openpi/*.json with the JAX code of openpi itself, small and on the CPU.

Run: pip install jax==0.5.3 flax==0.10.6 einops==0.8.2 ml_collections==1.0.0 jaxtyping==0.2.36 \
       beartype==0.19.0 orbax-checkpoint==0.11.24 augmax==0.4.1 pydantic==2.14.3 \
       tokenizers==0.23.3 numpy==2.4.6 pillow==13.0.0
     git clone https://github.com/Physical-Intelligence/openpi
     python scripts/goldens/openpi_golden.py --openpi openpi

Made with openpi at commit 15a9616. What openpi computes with stays as it is; this script replaces
only what it does not compute with here (torch, downloads, transformers) by empty modules, the sizes
of the model, and the text tokenizer's file.

Weights and pictures are not stored: both sides draw them from the hash in `noise`, which is integer
arithmetic and so the same everywhere. A weight of path P is `spread(P) * noise(P)`.
"""

import argparse
import base64
import json
import pathlib
import sys
import types

import numpy as np
import openpi_imports
from hash_noise import noise

parser = argparse.ArgumentParser()
parser.add_argument("--openpi", required=True, type=pathlib.Path, help="a checkout of openpi")
args = parser.parse_args()
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/openpi"

openpi_imports.use_openpi(args.openpi)

import flax.nnx as nnx  # noqa: E402
import flax.nnx.bridge as nnx_bridge  # noqa: E402
import flax.traverse_util as traverse_util  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import tokenizers  # noqa: E402
from openpi_client import image_tools as client_image_tools  # noqa: E402

from openpi import transforms  # noqa: E402
from openpi.models import gemma_fast, model as base_model, pi0_fast, siglip, tokenizer  # noqa: E402
from openpi.models import lora as lora_module  # noqa: E402
from openpi.policies import aloha_policy  # noqa: E402
from openpi.shared import image_tools  # noqa: E402

del sys.modules["torch"]  # einops asks for it by name and would take it for the real one

# ------------------------------------------------------------------------- what both sides agree on


def picture(name, height, width):
    """uint8 [height, width, 3]"""
    return np.floor((noise(name, height, width, 3) + 1) * 128).astype(np.uint8)


def spread(path):
    """Chosen so that greedy decoding wanders over the vocabulary instead of repeating one token."""
    if path == "PaliGemma/img/embedding/kernel":
        return 0.1
    return 0.6 if "/mlp/" in path else 0.3


def weight(path, shape):
    return (np.float32(spread(path)) * noise(path, *shape)).astype(np.float32)


def packed(array, dtype="<f4"):
    array = np.ascontiguousarray(np.asarray(array), dtype)
    return {"shape": list(array.shape), "base64": base64.b64encode(array.tobytes()).decode()}


def bits(mask):
    """Rows of 0 and 1 as text: the last axis is one string."""
    mask = np.asarray(mask).astype(int)
    return "".join(map(str, mask)) if mask.ndim == 1 else [bits(row) for row in mask]


def write(name, content):
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False) + "\n"
    (OUT / f"{name}.json").write_text(text, encoding="utf-8")
    print(f"{name}.json: {len(text.encode())} bytes")


# ------------------------------------------------------------------------------------- the network

IMG = dict(imageSize=42, patch=14, width=24, depth=3, mlpDim=40, heads=3)
LLM = dict(width=32, depth=3, mlpDim=48, heads=4, headDim=8, vocab=96)
LORA = dict(rank=3, alpha=6)
CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
PROMPTS = [[2, 7, 11, 13, 30, 41], [2, 9, 4]]
POSTFIX = [[20, 21, 88, 85, 60, 1], [20, 21, 90, 1]]
MAX_TOKEN_LEN = 14
DECODE_STEPS = 12
CASES = {"all": [[True] * 3, [True] * 3], "masked": [[True] * 3, [True, False, True]]}
GRADIENTS = [
    "PaliGemma/img/embedding/kernel",
    "PaliGemma/img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel",
    "PaliGemma/llm/embedder/input_embedding",
    "PaliGemma/llm/layers/attn/q_einsum/w",
    "PaliGemma/llm/final_norm/scale",
]
LORA_GRADIENTS = [
    "PaliGemma/llm/layers/attn/q_einsum/lora_a",
    "PaliGemma/llm/layers/attn/q_einsum/lora_b",
    "PaliGemma/llm/layers/attn/attn_vec_einsum/lora_a",
    "PaliGemma/llm/layers/attn/attn_vec_einsum/lora_b",
    "PaliGemma/llm/layers/mlp/gating_einsum_lora_a",
    "PaliGemma/llm/layers/mlp/gating_einsum_lora_b",
]

original_gemma_config = gemma_fast.get_config


def small_gemma(variant):
    config = original_gemma_config(variant)
    config.update(
        width=LLM["width"],
        depth=LLM["depth"],
        mlp_dim=LLM["mlpDim"],
        num_heads=LLM["heads"],
        head_dim=LLM["headDim"],
        vocab_size=LLM["vocab"],
    )
    if "lora_configs" in config:
        for name in ("attn", "ffn"):
            config.lora_configs[name] = lora_module.LoRAConfig(rank=LORA["rank"], alpha=float(LORA["alpha"]))
    return config


gemma_fast.get_config = small_gemma
siglip.decode_variant = lambda variant: dict(
    width=IMG["width"],
    depth=IMG["depth"],
    mlp_dim=IMG["mlpDim"],
    num_heads=IMG["heads"],
    patch_size=(IMG["patch"],) * 2,
)
base_model.IMAGE_RESOLUTION = (IMG["imageSize"],) * 2
base_model.preprocess_observation.__kwdefaults__["image_resolution"] = base_model.IMAGE_RESOLUTION


def make_model(variant):
    config = pi0_fast.Pi0FASTConfig(
        dtype="float32",
        paligemma_variant=variant,
        action_dim=7,
        action_horizon=4,
        max_token_len=MAX_TOKEN_LEN,
    )
    model = config.create(jax.random.key(0))
    state = nnx.state(model)
    flat = traverse_util.flatten_dict(state.to_pure_dict(), sep="/")
    drawn = {path: jnp.asarray(weight(path, value.shape)) for path, value in flat.items()}
    state.replace_by_pure_dict(traverse_util.unflatten_dict(drawn, sep="/"))
    nnx.update(model, state)
    return model, {path: list(value.shape) for path, value in flat.items()}


def observation(masks, has_postfix):
    rows = [p + (q if has_postfix else []) for p, q in zip(PROMPTS, POSTFIX)]
    pad = lambda values: values + [0] * (MAX_TOKEN_LEN - len(values))  # noqa: E731
    causal = [pad([0] * len(p) + [1] * (len(r) - len(p))) for p, r in zip(PROMPTS, rows)]
    images = {
        name: np.stack([picture(f"image {row} {i}", *base_model.IMAGE_RESOLUTION) for row in range(len(rows))])
        for i, name in enumerate(CAMERAS)
    }
    return base_model.Observation.from_dict(
        {
            "image": {name: jnp.asarray(x.astype(np.float32) / 255.0 * 2.0 - 1.0) for name, x in images.items()},
            "image_mask": {name: jnp.asarray([m[i] for m in masks]) for i, name in enumerate(CAMERAS)},
            "state": jnp.zeros((len(rows), 7), jnp.float32),
            "tokenized_prompt": jnp.asarray([pad(r) for r in rows], jnp.int32),
            "tokenized_prompt_mask": jnp.asarray([pad([1] * len(r)) for r in rows], bool),
            "token_ar_mask": jnp.asarray(causal, jnp.int32),
            "token_loss_mask": jnp.asarray(causal, bool),
        }
    )


class Recorder:
    """Keeps what the language model returns to openpi's own code."""

    def __enter__(self):
        self.original = nnx_bridge.ToNNX.__call__
        self.outputs = outputs = []
        original = self.original

        def call(module, *a, **k):
            result = original(module, *a, **k)
            if isinstance(result, tuple) and not isinstance(module.module, siglip._Module):
                outputs.append(result[0])
            return result

        nnx_bridge.ToNNX.__call__ = call
        return self

    def __exit__(self, *_):
        nnx_bridge.ToNNX.__call__ = self.original


def python_while_loop(cond, body, carry):
    while cond(carry):
        carry = body(carry)
    return carry


def sample(model, masks):
    """Greedy tokens [B, S] and the logits [B, S, V] that they come from, by sample_actions."""
    original = jax.lax.while_loop
    jax.lax.while_loop = python_while_loop  # one step at a time, so that logits can be recorded
    try:
        with Recorder() as recorder:
            tokens = model.sample_actions(
                jax.random.key(0), observation(masks, False), max_decoding_steps=DECODE_STEPS
            )
    finally:
        jax.lax.while_loop = original
    prefill, *steps = recorder.outputs
    assert len(steps) == DECODE_STEPS, "EOS ended the decoding: change the weights"
    logits = np.concatenate([prefill[:, -1:], *steps[:-1]], 1)
    best = np.sort(logits, -1)
    print("greedy tokens", np.asarray(tokens).astype(int).tolist(), "least margin", (best[..., -1] - best[..., -2]).min())
    return np.asarray(tokens).astype(int), logits


def teacher_forced(model, masks):
    """Logits [B, S, V] of the postfix in one pass at the positions that sample_actions decodes at."""
    inputs, mask, causal = model.embed_inputs(observation(masks, True))
    is_suffix = jnp.cumsum(causal, 1) > 0
    positions = jnp.cumsum(mask, 1) - 1 + is_suffix
    attention = pi0_fast.make_attn_mask(mask, causal)
    hidden, _, _ = model.PaliGemma.llm(
        embedded_prefix=inputs, mask=attention, positions=positions, return_prelogits=True
    )
    logits, _ = model.PaliGemma.llm(pre_logits=hidden)
    start = np.asarray(inputs.shape[1] - MAX_TOKEN_LEN)
    return [
        logits[row, start + len(p) - 1 : start + len(p) - 1 + len(q)]
        for row, (p, q) in enumerate(zip(PROMPTS, POSTFIX))
    ]


def training(model, masks):
    """compute_loss, and the logits of the postfix that it comes from."""
    seen = observation(masks, True)
    with Recorder() as recorder:
        loss = model.compute_loss(jax.random.key(0), seen, jnp.zeros((2, 4, 7)))
    logits = recorder.outputs[-1]
    rows = [logits[row, len(p) - 1 : len(p) - 1 + len(q)] for row, (p, q) in enumerate(zip(PROMPTS, POSTFIX))]
    return loss, rows


def attention_masks(model, masks):
    seen = observation(masks, True)
    _, mask, causal = model.embed_inputs(seen)
    return bits(pi0_fast.make_attn_mask(mask, causal)[:, :-1, :-1])


def aligned(model, masks):
    """What sample_actions makes of the prefix: order of places, masks, positions."""
    _, mask, causal = model.embed_inputs(observation(masks, False))
    attention = pi0_fast.make_attn_mask(mask, causal)
    places = jnp.broadcast_to(jnp.arange(mask.shape[1], dtype=jnp.float32)[None, :, None], (*mask.shape, 1))
    places, mask, attention = pi0_fast.left_to_right_align(places, mask, attention)
    return {
        "places": np.asarray(places)[..., 0].astype(int).tolist(),
        "mask": bits(mask),
        "attention": bits(attention),
        "positions": np.asarray(jnp.cumsum(mask, axis=-1) - 1).tolist(),
    }


def gradients(model, paths):
    graph, state = nnx.split(model)

    def loss(state):
        rows = nnx.merge(graph, state).compute_loss(
            jax.random.key(0), observation(CASES["all"], True), jnp.zeros((2, 4, 7))
        )
        return jnp.mean(rows)

    found = traverse_util.flatten_dict(jax.grad(loss)(state).to_pure_dict(), sep="/")
    return {path: packed(found[path]) for path in paths}


def network():
    variants = {}
    for name, paths in (("gemma_2b", GRADIENTS), ("gemma_2b_lora", LORA_GRADIENTS)):
        model, shapes = make_model(name)
        cases = {}
        for case, masks in CASES.items():
            loss, logits = training(model, masks)
            cases[case] = {
                "cameraMasks": masks,
                "loss": [float(x) for x in loss],
                "trainingLogits": [packed(x) for x in logits],
                "decodingLogits": [packed(x) for x in teacher_forced(model, masks)],
            }
            if name == "gemma_2b":
                cases[case]["attention"] = attention_masks(model, masks)
                cases[case]["aligned"] = aligned(model, masks)
        tokens, logits = sample(model, CASES["all"])
        variants[name] = {
            "shapes": shapes,
            "cases": cases,
            "sampledTokens": tokens.tolist(),
            "sampledLogits": packed(logits),
            "gradients": gradients(model, paths),
        }
    write(
        "network",
        {
            "siglip": IMG,
            "gemma": LLM,
            "lora": LORA,
            "prompts": PROMPTS,
            "postfix": POSTFIX,
            "maxTokenLen": MAX_TOKEN_LEN,
            "variants": variants,
        },
    )


def siglip_activations():
    model, _ = make_model("gemma_2b")
    image = np.stack([picture(f"image 0 {i}", *base_model.IMAGE_RESOLUTION) for i in range(2)])
    tokens, out = model.PaliGemma.img(jnp.asarray(image.astype(np.float32) / 255.0 * 2.0 - 1.0), train=False)
    stem = out["stem"]
    stages = {"stem": stem.reshape(stem.shape[0], -1, stem.shape[-1]), "with_posemb": out["with_posemb"]}
    for layer in range(IMG["depth"]):
        stages[f"block{layer:02d}"] = out["encoder"][f"block{layer:02d}"]["+mlp"]
    stages["encoder_norm"] = out["encoded"]
    stages["head"] = tokens
    write("siglip", {"siglip": IMG, "width": LLM["width"], "stages": {k: packed(v) for k, v in stages.items()}})


# ---------------------------------------------------------------------------------------- the rest

# Height and width before and after; the last is ALOHA's camera, of which every 16th row is kept.
SIZES = [
    (9, 13, 14, 14),
    (13, 9, 14, 14),
    (7, 7, 28, 28),
    (48, 64, 28, 28),
    (64, 48, 28, 28),
    (31, 50, 17, 23),
    (50, 31, 23, 17),
    (20, 20, 20, 20),
    (3, 40, 16, 16),
    (480, 640, 224, 224),
]
KEPT_ROWS = 16


def images():
    cases = []
    for height, width, to_height, to_width in SIZES:
        step = KEPT_ROWS if to_height == 224 else 1
        image = picture(f"resize {height}x{width}", height, width)
        case = {
            "from": [height, width],
            "to": [to_height, to_width],
            "rowStep": step,
            "uint8": packed(image_tools.resize_with_pad(jnp.asarray(image), to_height, to_width)[::step], "u1"),
            "pil": packed(client_image_tools.resize_with_pad(image, to_height, to_width)[::step], "u1"),
        }
        if step == 1:
            # Beyond [-1, 1], so that clipping shows.
            real = (np.float32(1.25) * noise(f"resize {height}x{width}", height, width, 3)).astype(np.float32)
            case["float32"] = packed(image_tools.resize_with_pad(jnp.asarray(real), to_height, to_width))
        cases.append(case)
    write("images", {"cases": cases})


class NormStats(types.SimpleNamespace):
    pass


def field_stats(name):
    middle, half = noise(f"{name} middle", 14).astype(np.float64), noise(f"{name} half", 14).astype(np.float64)
    half = np.abs(half) + 0.05
    half[3] = 0  # a joint that never moved
    return NormStats(mean=middle, std=half / 2, q01=middle - half, q99=middle + half)


def normalisation():
    stats = {"state": field_stats("state"), "actions": field_stats("actions")}
    data = {"state": 2 * noise("state", 14), "actions": 2 * noise("actions", 5, 14)}
    normal = transforms.Normalize(stats, use_quantiles=True)({k: v.copy() for k, v in data.items()})
    back = transforms.Unnormalize(stats, use_quantiles=True)({k: v.copy() for k, v in data.items()})
    as_list = lambda field: {k: v.tolist() for k, v in vars(field).items()}  # noqa: E731
    return {
        "stats": {k: as_list(v) for k, v in stats.items()},
        "normalized": {k: packed(v) for k, v in normal.items()},
        "unnormalized": {k: packed(v) for k, v in back.items()},
    }


def aloha():
    mask = transforms.make_bool_mask(6, -1, 6, -1)
    cases = {}
    for adapt in (False, True):
        state = np.float32(1.5) * noise("aloha state", 14)
        actions = np.float32(1.5) * noise("aloha actions", 6, 14)
        # Grippers over their whole range and a little beyond both ends.
        grippers = np.linspace(-0.1, 1.1, 6, dtype=np.float32)
        state[[6, 13]] = grippers[[1, 4]]
        actions[:, 6], actions[:, 13] = grippers, grippers[::-1]
        states = np.tile(state, (6, 1))
        states[:, 6], states[:, 13] = grippers, grippers[::-1]
        empty = np.zeros((3, 2, 2), np.uint8)
        call = lambda s, a: aloha_policy.AlohaInputs(adapt_to_pi=adapt)(  # noqa: E731
            {"state": s.copy(), "images": {"cam_high": empty.copy()}, "actions": a.copy()}
        )
        inputs = call(state, actions)
        delta = transforms.DeltaActions(mask)({"state": inputs["state"], "actions": inputs["actions"].copy()})
        absolute = transforms.AbsoluteActions(mask)({"state": inputs["state"], "actions": delta["actions"].copy()})
        outputs = aloha_policy.AlohaOutputs(adapt_to_pi=adapt)({"actions": absolute["actions"].copy()})
        decoded = aloha_policy.AlohaOutputs(adapt_to_pi=adapt)({"actions": actions.copy()})
        cases["adapted" if adapt else "plain"] = {
            "inputStates": packed(np.stack([call(s, actions)["state"] for s in states])),
            "inputActions": packed(inputs["actions"]),
            "deltaActions": packed(delta["actions"]),
            "outputActions": packed(outputs["actions"]),
            "decodedActions": packed(decoded["actions"]),
            "imageMasks": {k: bool(v) for k, v in inputs["image_mask"].items()},
        }
    return {"state": packed(state), "states": packed(states), "actions": packed(actions), "cases": cases}


MODEL_VOCAB = 1000
TEXT_PROMPTS = [
    "reach the red ball",
    "  Pick_up the RED_block \t",
    "Transfer cube",
    "put the cup,\nthen wait; now: go|stop",
    "ÜBER die Straße → café 東京",
    "",
]
STATES = [
    [0.0, 0.5, -0.5, 0.25, -0.25, 1.0, -1.0],
    [-1.0078125, -1.0, -0.9921875, -0.99218744, 0.9921875, 0.99218744, 1.5],
    [1e-8, -1e-8, 0.00390625, 0.0078125, 0.0078124995, -0.0078125, -3.0],
]
FAST_TOKENS = [[3, 0, 17, 255], [9] * 20, None]


class TextTokenizer:
    """SentencePieceProcessor's part that openpi uses, over a small tokenizer.json."""

    def __init__(self, model_proto=None):
        self.inner = tokenizers.Tokenizer.from_file(str(OUT / "tokenizer.json"))

    def encode(self, text, add_bos=False, add_eos=False):
        ids = self.inner.encode(text, add_special_tokens=False).ids
        return [2] * add_bos + ids + [1] * add_eos

    def vocab_size(self):
        return MODEL_VOCAB


def write_text_tokenizer():
    """A byte-fallback BPE with spaces as ▁, which is how Gemma's tokenizer.json is built."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    inner.decoder = tokenizers.decoders.Sequence(
        [tokenizers.decoders.Replace("▁", " "), tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()]
    )
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special,
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789▁,:;|\n-TSA"),
        show_progress=False,
    )
    corpus = ["Task: reach the red ball, State: 128 64 200;\n", "Action: |", "pick up the block, then wait; now go"]
    inner.train_from_iterator(corpus * 3, trainer)
    content = json.loads(inner.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] in special]
    vocab = content["model"]["vocab"]
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False)
    (OUT / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
    assert len(vocab) < MODEL_VOCAB - 128 - 256, len(vocab)


def tokenization():
    write_text_tokenizer()
    file = types.SimpleNamespace(open=lambda mode: open("/dev/null", mode))
    tokenizer.download.maybe_download = lambda *a, **k: file
    tokenizer.sentencepiece.SentencePieceProcessor = TextTokenizer
    fast = lambda actions: [actions[0].astype(int).ravel().tolist()]  # noqa: E731 - tokens are given as they are
    tokenizer.AutoProcessor = types.SimpleNamespace(from_pretrained=lambda *a, **k: fast)
    cases = []
    for max_len in (256, 40):
        reader = tokenizer.FASTTokenizer(max_len)
        for i, prompt in enumerate(TEXT_PROMPTS):
            for j, state in enumerate(STATES):
                given = FAST_TOKENS[(i + j) % len(FAST_TOKENS)]
                actions = None if given is None else np.asarray(given)
                tokens, mask, causal, loss = reader.tokenize(prompt, np.asarray(state, np.float32), actions)
                cases.append(
                    {
                        "maxLen": max_len,
                        "prompt": prompt,
                        "state": state,
                        "fastTokens": given,
                        "tokens": np.asarray(tokens).astype(int).tolist(),
                        "mask": bits(mask),
                        "arMask": bits(causal),
                        "lossMask": bits(loss),
                    }
                )
    edges = np.concatenate([np.linspace(-1.02, 1.02, 400), np.linspace(-1, 1, 257)]).astype(np.float32)
    edges = np.concatenate([edges, np.nextafter(edges, np.float32(2)), np.nextafter(edges, np.float32(-2))])
    bins = np.digitize(edges, bins=np.linspace(-1, 1, 256 + 1)[:-1]) - 1
    pi = tokenizer.PaligemmaTokenizer(max_len=256)
    discrete = []
    for prompt in TEXT_PROMPTS:
        tokens, mask = pi.tokenize(prompt, np.asarray(STATES[0], np.float32))
        discrete.append({"prompt": prompt, "tokens": np.asarray(tokens)[: mask.sum()].astype(int).tolist()})
    write(
        "tokens",
        {
            "modelVocab": MODEL_VOCAB,
            "fastSkipTokens": 128,
            "cases": cases,
            "bins": {"state": packed(edges), "bins": bins.tolist()},
            "discreteState": {"state": STATES[0], "cases": discrete},
        },
    )


if __name__ == "__main__":
    siglip_activations()
    network()
    images()
    write("transforms", {"normalization": normalisation(), "aloha": aloha()})
    tokenization()
