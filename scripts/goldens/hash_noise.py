"""Numbers that Python and the tests draw alike, so that no fixture has to store weights."""

import numpy as np


def noise(name, *shape):
    """Uniform float32 in [-1, 1): xorshift32 seeded with the name's FNV-1a hash, integers throughout."""
    x = 2166136261
    for char in name.encode():
        x = ((x ^ char) * 16777619) & 0xFFFFFFFF
    out = np.empty(int(np.prod(shape)))
    for i in range(out.size):
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        out[i] = x / 2**31 - 1
    return out.astype(np.float32).reshape(shape)
