"""Writes tests/fixtures/policy/golden.json: the policy's network in float64, one row at a time.

Run: pip install numpy && python scripts/goldens/policy_golden.py

Written from the model's definition, without batches, padding or a cache. Weights are not stored:
both sides draw them from the hash in `noise`, which is integer arithmetic and so the same
everywhere.
"""

import json
import pathlib

import hash_noise
import numpy as np

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/policy"

IMG = dict(imageSize=28, patch=14, width=24, depth=2, mlpDim=40, heads=3)
LLM = dict(width=32, depth=2, mlpDim=48, heads=4, headDim=8, vocab=64)
LORA = dict(rank=3, alpha=6)
SKIP, FAST_VOCAB, VALUE_HIDDEN, MAX_VALUE_STEPS = 5, 16, 10, 3
CAMERAS = 3
PROMPTS = [[2, 7, 11, 13, 30], [2, 9, 4]]
FORCED = [20, 21]
TOKENS = [[3, 0, 15, 7], [9, 9]]
MASKED = -2.3819763e38


def noise(name, *shape):
    return hash_noise.noise(name, *shape).astype(np.float64)


def weight(path, *shape):
    return (0.3 * noise(path, *shape)).astype(np.float32).astype(np.float64)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, path, width, *layer):
    scale, bias = (weight(f"{path}/{part}", *SHAPE(layer, width)) for part in ("scale", "bias"))
    if layer:
        scale, bias = scale[layer[0]], bias[layer[0]]
    mean = x.mean(-1, keepdims=True)
    std = np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-6)
    return (x - mean) / std * scale + bias


def SHAPE(layer, *inner):
    return (IMG["depth"], *inner) if layer else inner


def siglip(pixels):
    """[28, 28, 3] in [-1, 1] -> [4, 32]; the convolution as the sum over its window."""
    D, L, F, N, P = IMG["width"], IMG["depth"], IMG["mlpDim"], IMG["heads"], IMG["patch"]
    K, side = D // N, IMG["imageSize"] // P
    kernel = weight("PaliGemma/img/embedding/kernel", P, P, 3, D)
    x = np.array(
        [
            np.einsum("hwc,hwcd->d", pixels[r * P : r * P + P, c * P : c * P + P], kernel)
            for r in range(side)
            for c in range(side)
        ]
    )
    x = x + weight("PaliGemma/img/embedding/bias", D)
    x = x + weight("PaliGemma/img/pos_embedding", 1, side * side, D)[0]
    block = "PaliGemma/img/Transformer/encoderblock"
    att = f"{block}/MultiHeadDotProductAttention_0"
    for l in range(L):
        y = layer_norm(x, f"{block}/LayerNorm_0", D, l)
        q, k, v = (
            np.einsum("td,dnk->tnk", y, weight(f"{att}/{n}/kernel", L, D, N, K)[l])
            + weight(f"{att}/{n}/bias", L, N, K)[l]
            for n in ("query", "key", "value")
        )
        probs = softmax(np.einsum("tnk,snk->nts", q, k) / np.sqrt(K))
        y = np.einsum("nts,snk->tnk", probs, v)
        x = x + np.einsum("tnk,nkd->td", y, weight(f"{att}/out/kernel", L, N, K, D)[l])
        x = x + weight(f"{att}/out/bias", L, D)[l]
        y = layer_norm(x, f"{block}/LayerNorm_1", D, l)
        y = gelu(
            y @ weight(f"{block}/MlpBlock_0/Dense_0/kernel", L, D, F)[l]
            + weight(f"{block}/MlpBlock_0/Dense_0/bias", L, F)[l]
        )
        x = x + y @ weight(f"{block}/MlpBlock_0/Dense_1/kernel", L, F, D)[l]
        x = x + weight(f"{block}/MlpBlock_0/Dense_1/bias", L, D)[l]
    x = layer_norm(x, "PaliGemma/img/Transformer/encoder_norm", D)
    return x @ weight("PaliGemma/img/head/kernel", D, LLM["width"]) + weight(
        "PaliGemma/img/head/bias", LLM["width"]
    )


def rms_norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * (1 + scale)


def rope(x, positions):
    """[T, N, K]"""
    half = x.shape[-1] // 2
    timescale = 10000 ** (2 * np.arange(half) / x.shape[-1])
    angle = (np.asarray(positions)[:, None] / timescale)[:, None, :]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def gemma(x, positions, ar_mask, lora):
    """[T, D] -> final hidden states; token i attends to j iff cumsum(ar)[j] <= cumsum(ar)[i]."""
    D, L, F, N, K = (LLM[n] for n in ("width", "depth", "mlpDim", "heads", "headDim"))
    R, scaling = LORA["rank"], LORA["alpha"] / LORA["rank"]
    order = np.cumsum(ar_mask)
    visible = order[None, :] <= order[:, None]
    layers = "PaliGemma/llm/layers"
    att, mlp = f"{layers}/attn", f"{layers}/mlp"

    def einsum(equation, equation_a, equation_b, x, name, l, stack, shape):
        out = np.einsum(equation, x, weight(f"{att}/{name}/w", L, *stack, *shape)[l])
        if lora:
            a = weight(f"{att}/{name}/lora_a", L, *stack, *shape[:-1], R)[l]
            b = weight(f"{att}/{name}/lora_b", L, *stack, *shape[:-2], R, shape[-1])[l]
            out = out + scaling * np.einsum(equation_b, np.einsum(equation_a, x, a), b)
        return out

    def dense(x, name, l, pick, stack, rows, columns):
        out = x @ weight(f"{mlp}/{name}", L, *stack, rows, columns)[l][pick]
        if lora:
            a = weight(f"{mlp}/{name}_lora_a", L, *stack, rows, R)[l][pick]
            b = weight(f"{mlp}/{name}_lora_b", L, *stack, R, columns)[l][pick]
            out = out + x @ a @ b  # not scaled: openpi's lora.py, FeedForward._dot
        return out

    for l in range(L):
        y = rms_norm(x, weight(f"{layers}/pre_attention_norm/scale", L, D)[l])
        q = einsum("td,ndh->tnh", "td,ndr->tnr", "tnr,nrh->tnh", y, "q_einsum", l, (), (N, D, K))
        k, v = einsum("td,ckdh->ctkh", "td,ckdr->ctkr", "ctkr,ckrh->ctkh", y, "kv_einsum", l, (2,), (1, D, K))
        q = rope(q, positions) * K**-0.5
        k = rope(k, positions)
        logits = np.einsum("tnh,sh->nts", q, k[:, 0])
        probs = softmax(np.where(visible[None], logits, MASKED))
        y = np.einsum("nts,sh->tnh", probs, v[:, 0])
        x = x + einsum("tnh,nhd->td", "tnh,nhr->tr", "tr,nrd->td", y, "attn_vec_einsum", l, (), (N, K, D))
        y = rms_norm(x, weight(f"{layers}/pre_ffw_norm/scale", L, D)[l])
        gate, up = (dense(y, "gating_einsum", l, i, (2,), D, F) for i in (0, 1))
        x = x + dense(gelu(gate) * up, "linear", l, slice(None), (), F, D)
    return rms_norm(x, weight("PaliGemma/llm/final_norm/scale", D))


def value_of(hidden):
    D, W = LLM["width"], VALUE_HIDDEN
    x = gelu(hidden @ weight("dense_0/kernel", D, W) + weight("dense_0/bias", W))
    x = gelu(x @ weight("dense_1/kernel", W, W) + weight("dense_1/bias", W))
    return float((x @ weight("out/kernel", W, 1) + weight("out/bias", 1))[0])


def run(image_tokens, prompt, tokens, shift, lora):
    """Logits of every FAST token [S, FAST_VOCAB] and both critics' values of one row."""
    V, D = LLM["vocab"], LLM["width"]
    embedding = weight("PaliGemma/llm/embedder/input_embedding", V, D)
    fed = [V - 1 - SKIP - t for t in tokens[:-1]]
    text = embedding[prompt + FORCED + fed] * np.sqrt(D)
    x = np.concatenate([image_tokens, text])
    prefix = len(image_tokens) + len(prompt)
    suffix = len(FORCED) + len(fed)
    positions = [*range(prefix), *(prefix + shift + i for i in range(suffix))]
    hidden = gemma(x, positions, [0] * prefix + [1] * suffix, lora)
    predicting = hidden[prefix + len(FORCED) - 1 :]
    full = predicting @ embedding.T
    logits = np.stack([full[:, V - 1 - SKIP - f] for f in range(FAST_VOCAB)], 1)
    return {
        "logits": logits,
        "observationValue": value_of(predicting[0]),
        "chunkValue": value_of(predicting[:MAX_VALUE_STEPS].mean(0)),
        "postfix": hidden[prefix - 1 :] @ embedding.T,
    }


def rounded(x):
    if isinstance(x, np.ndarray):
        x = x.reshape(-1).tolist()
    return [float(f"{v:.7g}") for v in x] if isinstance(x, list) else float(f"{x:.7g}")


side = IMG["imageSize"]
pictures = [
    [np.floor((noise(f"image {row} {camera}", side, side, 3) + 1) * 128) for camera in range(CAMERAS)]
    for row in range(len(PROMPTS))
]
image_tokens = [np.concatenate([siglip(p / 127.5 - 1) for p in row]) for row in pictures]
cases = []
for lora in (False, True):
    for convention, shift in (("natural", 0), ("openpi", 1)):
        rows = [run(*row, shift, lora) for row in zip(image_tokens, PROMPTS, TOKENS)]
        case = {"lora": lora, "decodePositions": convention}
        for key in ("logits", "observationValue", "chunkValue"):
            case[key] = [rounded(row[key]) for row in rows]
        if convention == "natural" and not lora:
            case["postfix"] = [rounded(row["postfix"]) for row in rows]
        cases.append(case)

OUT.mkdir(parents=True, exist_ok=True)
golden = {
    "siglip": IMG,
    "gemma": LLM,
    "lora": LORA,
    "fastSkipTokens": SKIP,
    "fastVocab": FAST_VOCAB,
    "valueHidden": VALUE_HIDDEN,
    "maxValueSteps": MAX_VALUE_STEPS,
    "prompts": PROMPTS,
    "forced": FORCED,
    "tokens": TOKENS,
    "imageTokens": [rounded(row) for row in image_tokens],
    "cases": cases,
}
(OUT / "golden.json").write_text(json.dumps(golden) + "\n")
