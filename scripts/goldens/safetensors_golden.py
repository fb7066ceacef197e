"""Writes tests/fixtures/checkpoint/: safetensors files made by the reference implementation.

Run: pip install safetensors numpy ml_dtypes && python scripts/goldens/safetensors_golden.py
"""

import json
import pathlib

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/checkpoint"
OUT.mkdir(parents=True, exist_ok=True)

# Every value is exact in float32; 0.1 and 1e-8 are not exact in the half formats, 6e-8 is subnormal there.
VALUES = np.array([0.0, -0.0, 1.0, -2.5, 0.1, 1e-8, 6e-8, 65504.0, 2049.0, 2051.0, -1e-3, 3.14159274], dtype=np.float32)

tensors = {
    "matrix_f32": VALUES.reshape(3, 4),
    "matrix_f16": VALUES.reshape(2, 6).astype(np.float16),
    "matrix_bf16": VALUES.reshape(4, 3).astype(ml_dtypes.bfloat16),
    "scalar": np.array(7.25, dtype=np.float32),
    "empty": np.zeros((0, 3), dtype=np.float32),
}
save_file(tensors, OUT / "mixed.safetensors", metadata={"writer": "safetensors"})
expected = {
    name: {"shape": list(value.shape), "data": [float(x) for x in value.astype(np.float32).reshape(-1)]}
    for name, value in tensors.items()
}
(OUT / "mixed.json").write_text(json.dumps(expected, indent=1) + "\n")

# One tensor each, so that the order of tensors is no matter and files can be compared byte by byte.
save_file({"w": VALUES.reshape(3, 4)}, OUT / "single_f32.safetensors")
save_file({"w": VALUES.reshape(3, 4).astype(np.float16)}, OUT / "single_f16.safetensors")
