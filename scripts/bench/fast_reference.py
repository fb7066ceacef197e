"""FAST by the reference libraries, on a tokenizer that Tendon wrote: ids, actions and times as JSON.

    pip install numpy scipy tokenizers
    python scripts/bench/fast_reference.py TOKENIZER_FOLDER REPEATS < chunks.json

Standard input is {"horizon": H, "actionDim": A, "chunks": [base64 of float32, ...]}. The steps are
those of FAST's processor (physical-intelligence/fast), but the BPE is called directly, without
transformers' wrapper around it, which would only add time.
"""

import base64
import json
import pathlib
import sys
import time

import numpy as np
from scipy.fft import dct, idct
from tokenizers import Tokenizer


def main():
    folder, repeats = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    task = json.load(sys.stdin)
    horizon, dim = task["horizon"], task["actionDim"]
    chunks = [np.frombuffer(base64.b64decode(c), "<f4").astype(np.float64).reshape(horizon, dim)
              for c in task["chunks"]]
    config = json.loads((folder / "processor_config.json").read_text())
    scale, low = config["scale"], config["min_token"]
    bpe = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def encode(chunk):
        integers = np.around(dct(chunk, axis=0, norm="ortho") * scale)
        text = "".join(map(chr, np.maximum(integers.flatten() - low, 0).astype(int)))
        return bpe.encode(text).ids

    def decode(ids):
        integers = np.array(list(map(ord, bpe.decode(ids)))) + low
        return idct(integers.reshape(horizon, dim) / scale, axis=0, norm="ortho")

    def mean_times(work, items):
        rounds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            for item in items:
                work(item)
            rounds.append(1e6 * (time.perf_counter() - start) / len(items))
        return rounds[1:]  # the first one warms up

    ids = [encode(chunk) for chunk in chunks]
    print(json.dumps({
        "ids": ids,
        "actions": [decode(row).flatten().tolist() for row in ids],
        "encodeUs": mean_times(encode, chunks),
        "decodeUs": mean_times(decode, ids),
    }))


if __name__ == "__main__":
    main()
