"""Writes the tokenizer fixtures from the reference libraries.

    pip install tokenizers==0.23.3 numpy==2.4.6 scipy==1.17.1 transformers==5.23.0
    python scripts/goldens/fast_goldens.py [--processor processing_action_tokenizer.py]

The processor's source is that of the repository physical-intelligence/fast on Hugging Face. Without
it parity.json is left as it is, and all else is written.

What the files hold, and who computed it:
  parity.json                   1,220 chunks of twelve kinds, each kind fitted, encoded and decoded by
                                the processor itself; the chunks are drawn alike here and in the tests
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

import argparse
import base64
import hashlib
import importlib.util
import json
import pathlib
import tempfile

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


class Draw:
    """Uniform numbers in [0, 1), 32 bits each (Mulberry32): the same in every language."""

    def __init__(self, seed):
        self.state = seed & 0xFFFFFFFF

    def __call__(self):
        self.state = (self.state + 0x6D2B79F5) & 0xFFFFFFFF
        x = self.state
        x = ((x ^ (x >> 15)) * (x | 1)) & 0xFFFFFFFF
        x ^= (x + ((x ^ (x >> 7)) * (x | 61) & 0xFFFFFFFF)) & 0xFFFFFFFF
        return (x ^ (x >> 14)) / 2**32


def draw_chunk(kind, draw, horizon, dim):
    """One chunk, by plain arithmetic in double precision, rounded to single at the end."""
    chunk = np.zeros((horizon, dim))
    for a in range(dim):
        value = 1.6 * draw() - 0.8
        slope = 0.0 if draw() < 0.5 else 0.1 * (draw() - 0.5)
        for t in range(horizon):
            value += slope
            if kind == "smooth":
                chunk[t, a] = value + 0.02 * (draw() - 0.5)
            elif kind == "wild":
                chunk[t, a] = 2 * draw() - 1
            elif kind == "positive":
                chunk[t, a] = 0.5 + 0.5 * draw()
            elif kind == "lattice":  # sums are exact, so many coefficients are halves
                chunk[t, a] = np.floor(129 * draw()) / 64 - 1
            elif kind == "levels":  # few values, so many pairs are equally frequent
                chunk[t, a] = np.floor(3 * draw()) - 1
            else:
                raise ValueError(kind)
    return chunk.astype(np.float32)


PARITY = [
    # kind, H, A, scale, vocabulary, chunks to fit, chunks to encode, factor of the latter
    ("smooth", 16, 14, 10, 1024, 120, 240, 1),
    ("smooth", 10, 7, 10, 512, 100, 200, 1),
    ("smooth", 50, 14, 10, 1024, 40, 100, 1),
    ("smooth", 32, 8, 25, 2048, 80, 150, 1),
    ("smooth", 16, 14, 100, 3000, 50, 60, 1),
    ("positive", 1, 14, 10, 200, 80, 60, 1),
    ("lattice", 16, 14, 10, 700, 50, 100, 1),
    ("levels", 8, 4, 2, 128, 80, 60, 1),
    ("wild", 16, 7, 10, 300, 40, 60, 1),
    ("smooth", 10, 7, 1, 64, 60, 60, 1),
    ("recorded", 16, 14, 10, 512, 60, 80, 1),
    ("smooth", 16, 14, 10, 600, 60, 50, 3),  # beyond both ends of what was fitted
]


def make_parity(processor_path):
    spec = importlib.util.spec_from_file_location("processor", processor_path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recorded = json.loads((ROOT / "recorded.json").read_text())
    cases = []
    for seed, (kind, horizon, dim, scale, vocab, fit_count, count, factor) in enumerate(PARITY):
        draw = Draw(seed)
        if kind == "recorded":
            chunks = [np.frombuffer(base64.b64decode(c), "<f4").reshape(horizon, dim)
                      for c in recorded["float32"]]
            fitted, encoded = chunks[:fit_count], chunks[:count]
        else:
            fitted = [draw_chunk(kind, draw, horizon, dim) for _ in range(fit_count)]
            encoded = [draw_chunk(kind, draw, horizon, dim) for _ in range(count)]
        encoded = [c.astype(np.float64) * factor for c in encoded]
        processor = module.UniversalActionProcessor.fit(
            [c.astype(np.float64) for c in fitted], scale=scale, vocab_size=vocab,
            time_horizon=horizon, action_dim=dim,
        )
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tokenizer.json"
            processor.bpe_tokenizer.backend_tokenizer.save(str(path))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        tokens = [processor(c)[0] for c in encoded]
        weights = (np.arange(horizon * dim) * 37 % 101) / 101
        sums = []
        for ids in tokens:
            text = processor.bpe_tokenizer.decode(ids)
            is_whole = len(text) == horizon * dim and "\ufffd" not in text
            if is_whole:
                actions = processor.decode([ids], time_horizon=horizon, action_dim=dim)[0]
            # The processor would return zeros for what it lost in encoding.
            sums.append(float(actions.flatten() @ weights) if is_whole else None)
        flat = np.concatenate([[len(ids), *ids] for ids in tokens]).astype("<u2")
        cases.append({
            "kind": kind, "seed": seed, "horizon": horizon, "actionDim": dim, "scale": scale,
            "vocabSize": vocab, "fitted": fit_count, "encoded": count, "factor": factor,
            "minToken": int(processor.min_token),
            "tokens": len(processor.bpe_tokenizer.get_vocab()),
            "tokenizerSha256": digest,
            "ids": base64.b64encode(flat.tobytes()).decode(),
            "decoded": sums,
        })
        print(f"parity: {kind} {horizon}x{dim}, {cases[-1]['tokens']} tokens from {cases[-1]['minToken']}, "
              f"{np.mean([len(t) for t in tokens]):.1f} a chunk, {sum(s is None for s in sums)} malformed")
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (ROOT / "parity.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processor", help="processing_action_tokenizer.py of physical-intelligence/fast")
    arguments = parser.parse_args()
    if arguments.processor:
        make_parity(arguments.processor)
    for seed, (case, settings) in enumerate(CASES.items()):
        make_case(case, seed, *settings)
    make_numbers()
    make_word_level()
