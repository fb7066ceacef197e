"""Writes the tokenizer fixtures from the reference libraries.

    pip install tokenizers numpy scipy
    python scripts/goldens/fast_goldens.py

What the files hold, and who computed it:
  <case>/tokenizer.json         a BPE that Hugging Face's `tokenizers` trained on the chunks below
  <case>/processor_config.json  scale and least coefficient, as FAST's processor writes them
  <case>/golden.json            chunks, their ids, texts with their ids, what each token decodes to
  word_level/golden.json        ids of word_level/tokenizer.json, which the project itself built
  numbers.json                  scipy's DCT, numpy's digitize, quantile and around

The arithmetic is that of FAST's processor: dct(norm="ortho") along time, times scale, np.around,
minus the least integer, one character each, ByteLevelBPETokenizer with BpeTrainer(min_frequency=2,
max_token_length=10000). Its initial alphabet is every raw character; in cases marked "complete"
the byte-level characters of all of them are added, which the project's fit does so that integers
absent from the data can be encoded. Where the data has every byte anyway both are the same.
"""

import json
import pathlib

import numpy as np
from scipy.fft import dct, idct
from tokenizers import ByteLevelBPETokenizer, Tokenizer, pre_tokenizers
from tokenizers.trainers import BpeTrainer

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "tokenizer"

# Actions are stored as integers and divided by this: exact in float32 and short in JSON.
UNIT = 512

CASES = {
    # name: (chunks, H, A, scale, vocabulary, noise, alphabet)
    "dense": (60, 8, 4, 4, 160, 0.15, "fast"),
    "arm": (60, 10, 7, 10, 320, 0.004, "complete"),
    "two_byte": (50, 10, 7, 40, 620, 0.01, "complete"),
    "wide": (50, 8, 6, 120, 900, 0.01, "complete"),
    "holes": (30, 8, 4, 30, 300, 0.0, "fast"),
}

TEXTS = [
    "'s't're've'm'll'd's  'S 'S",
    "  abc   123 !?\t\n x\r\n  ",
    "a\x85b\xa0c\x85\x85 \xa0 d",
    "\xb2\xb3\xb9\xbc\xaa\xb5\xba 9\xb2z",
    " \x1c\x1d\x1e\x1f ~\x7f\x80",
    "\x00" * 40 + "\x01" * 7,
]


def trajectories(rng, count, horizon, dim, noise):
    """Smooth random motions in about [-1, 1] with a little noise, in units of 1/UNIT."""
    start = rng.uniform(-0.8, 0.8, (count, 1, dim))
    slope = rng.normal(0, 0.04, (count, 1, dim)) * (rng.random((count, 1, dim)) < 0.6)
    time = np.arange(horizon)[None, :, None]
    motion = start + slope * time + rng.normal(0, noise, (count, horizon, dim))
    return np.round(np.clip(motion, -1.2, 1.2) * UNIT).astype(int)


def coefficients(chunk, scale):
    return np.around(dct(chunk / UNIT, axis=0, norm="ortho") * scale).astype(int)


def raw_codes(text):
    return [ord(c) for c in text]


def make_case(name, seed, count, horizon, dim, scale, vocab_size, noise, alphabet_kind):
    rng = np.random.default_rng(seed)
    chunks = trajectories(rng, count, horizon, dim, noise)
    integers = np.stack([coefficients(c, scale) for c in chunks])
    low, high = int(integers.min()), int(integers.max())
    strings = ["".join(map(chr, (x.flatten() - low))) for x in integers]

    alphabet = {chr(i) for i in range(high - low + 1)}
    if alphabet_kind == "complete":
        split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        for char in sorted(alphabet):
            alphabet |= set(split.pre_tokenize_str(char)[0][0])
    bpe = ByteLevelBPETokenizer()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=sorted(alphabet),
        max_token_length=10000,
    )
    bpe._tokenizer.train_from_iterator(strings, trainer=trainer)

    out = ROOT / name
    out.mkdir(parents=True, exist_ok=True)
    bpe._tokenizer.save(str(out / "tokenizer.json"))
    (out / "processor_config.json").write_text(json.dumps({
        "action_dim": None,
        "min_token": low,
        "processor_class": "UniversalActionProcessor",
        "scale": scale,
        "time_horizon": None,
        "vocab_size": vocab_size,
    }, indent=2) + "\n")

    # Unseen chunks that stay within [low, high], so that no reference clips.
    held_out = []
    while len(held_out) < 8:
        chunk = trajectories(rng, 1, horizon, dim, noise)[0]
        x = coefficients(chunk, scale)
        if x.min() < low or x.max() > high:
            continue
        text = "".join(map(chr, (x.flatten() - low)))
        if bpe.decode(bpe.encode(text).ids) == text:
            held_out.append(chunk)
    encoded = [bpe.encode("".join(map(chr, (coefficients(c, scale).flatten() - low)))).ids
               for c in held_out]
    decoded = idct(coefficients(held_out[0], scale) / scale, axis=0, norm="ortho")

    # Random texts exercise the word split; only those that the vocabulary can write.
    random_texts = ["".join(map(chr, rng.integers(0, high - low + 1, 40))) for _ in range(12)]
    texts = [t for t in TEXTS + random_texts
             if max(map(ord, t)) <= high - low and bpe.decode(bpe.encode(t).ids) == t]
    (out / "golden.json").write_text(json.dumps({
        "horizon": horizon,
        "actionDim": dim,
        "scale": scale,
        "vocabSize": vocab_size,
        "alphabet": alphabet_kind,
        "minToken": low,
        "maxToken": high,
        "unit": UNIT,
        "chunks": [c.flatten().tolist() for c in chunks],
        "heldOut": [c.flatten().tolist() for c in held_out],
        "encoded": encoded,
        "decodedFirst": decoded.flatten().tolist(),
        "texts": [[raw_codes(t), bpe.encode(t).ids] for t in texts],
        "tokenTexts": [raw_codes(bpe.decode([i])) for i in range(bpe.get_vocab_size())],
    }, separators=(",", ":")) + "\n")
    print(f"{name}: {bpe.get_vocab_size()} tokens, integers {low}..{high}, {len(texts)} texts")


def make_numbers():
    rng = np.random.default_rng(99)
    chunk = np.round(rng.uniform(-1, 1, (16, 14)) * UNIT) / UNIT
    state = np.concatenate([
        np.linspace(-1, 1, 257)[::16], np.nextafter(np.linspace(-1, 1, 17), -2), rng.normal(0, 1, 20),
        [-1e-20, 1e-20, -5.0, 5.0],
    ])
    samples = np.round(rng.normal(0, 1, (37, 3)), 3)
    (ROOT / "numbers.json").write_text(json.dumps({
        "dctInput": chunk.flatten().tolist(),
        "dctOutput": dct(chunk, axis=0, norm="ortho").flatten().tolist(),
        "state": state.tolist(),
        "stateBins": (np.digitize(state, bins=np.linspace(-1, 1, 257)[:-1]) - 1).tolist(),
        "samples": samples.flatten().tolist(),
        "mean": samples.mean(0).tolist(),
        "std": samples.std(0).tolist(),
        "q01": np.quantile(samples, 0.01, axis=0).tolist(),
        "q99": np.quantile(samples, 0.99, axis=0).tolist(),
    }, separators=(",", ":")) + "\n")


def make_word_level():
    path = ROOT / "word_level" / "tokenizer.json"
    if not path.exists():
        print("word_level/tokenizer.json is not there: its test writes it")
        return
    tokenizer = Tokenizer.from_file(str(path))
    texts = [
        "Task: reach the red ball, State: 128 -1 0 255;\nAction: ",
        "|",
        "a  b\tc,d;\n\n:|",
        "push the 7th cube",
        "<bos>Task: reach<eos>",
    ]
    encoded = [[t, tokenizer.encode(t, add_special_tokens=False).ids] for t in texts]
    (ROOT / "word_level" / "golden.json").write_text(json.dumps(encoded, indent=1) + "\n")


if __name__ == "__main__":
    for seed, (case, settings) in enumerate(CASES.items()):
        make_case(case, seed, *settings)
    make_numbers()
    make_word_level()
