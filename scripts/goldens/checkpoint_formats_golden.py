"""Writes tests/fixtures/checkpoint_formats/: small checkpoints of every format that is read.

Run: pip install orbax-checkpoint==0.11.13 jax==0.5.3 flax==0.10.6 tensorstore==0.1.86 \
       safetensors==0.8.0 numpy==2.4.6 ml_dtypes==0.6.0
     python scripts/goldens/checkpoint_formats_golden.py

Orbax is pinned to the version that openpi locks, and stores are written the way its
training/checkpoints.py does: a CheckpointManager with a PyTreeCheckpointHandler for `params`, which
holds {"params": tree}. TensorStore writes what Orbax does not choose today but has chosen or may.

No values are stored beside the checkpoints: the value at flat index i of a tensor with seed s is
((37 i + 101 s) mod 251 - 125) / 8, which float16 and bfloat16 hold exactly. expected.json lists the
tensors' names, shapes, number formats and seeds; a null seed stands for zeros, and "partial" for two
rows of ones before two rows of the fill value 2.5, which were never written. The files differ from
run to run in identifiers and times; the values do not.
"""

import json
import pathlib
import shutil

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/checkpoint_formats"
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
expected = {}


def values(shape, seed, dtype):
    """The formula of the docstring."""
    count = int(np.prod(shape, dtype=np.int64))
    if seed is None:
        return np.zeros(shape, DTYPES[dtype])
    numbers = ((37 * np.arange(count, dtype=np.int64) + 101 * seed) % 251 - 125) / 8
    return numbers.reshape(shape).astype(DTYPES[dtype])


def entry(shape, seed, dtype):
    return {"shape": list(shape), "dtype": dtype, "seed": seed}


def expect(path, fmt, tensors, skipped=()):
    expected[path] = {"format": fmt, "tensors": tensors, "skipped": sorted(skipped)}


# --- Orbax -------------------------------------------------------------------------------------

# As openpi's state: every path ends in "value". The large one is stored out of line.
STATE = {
    "PaliGemma/img/embedding/kernel/value": entry([3, 4], 1, "F32"),
    "PaliGemma/img/Transformer/encoderblock/LayerNorm_0/bias/value": entry([5], None, "F32"),
    "PaliGemma/llm/layers/attn/q_einsum/w/value": entry([2, 4, 6, 3], 2, "BF16"),
    "PaliGemma/llm/layers/mlp/linear/value": entry([2, 40, 50], 3, "BF16"),
    "PaliGemma/llm/layers/mlp/gating_einsum/value": entry([2, 2, 3, 5], 4, "F16"),
    "PaliGemma/llm/final_norm/scale/value": entry([], 5, "F32"),
}


def nested(tensors):
    tree = {}
    for path, tensor in tensors.items():
        *parents, leaf = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = jnp.asarray(values(tensor["shape"], tensor["seed"], tensor["dtype"]))
    return tree


def prefixed(tensors):
    return {f"params/{name}": tensor for name, tensor in tensors.items()}


def orbax_manager(path, **handler_options):
    """As openpi: one folder a step, with one folder an item."""
    manager = ocp.CheckpointManager(
        OUT / path,
        item_handlers={
            "train_state": ocp.PyTreeCheckpointHandler(),
            "params": ocp.PyTreeCheckpointHandler(**handler_options),
        },
        options=ocp.CheckpointManagerOptions(max_to_keep=1, create=True),
    )
    tree = nested(STATE)
    tree["step"] = {"value": jnp.int32(7)}
    manager.save(7, items={"train_state": {"step": jnp.int32(7)}, "params": {"params": tree}})
    manager.wait_until_finished()
    manager.close()
    fmt = "orbax-zarr" if handler_options.get("use_ocdbt") is False else "orbax-ocdbt"
    expect(f"{path}/7/params", fmt, prefixed(STATE), ["params/step/value"])


def orbax_standard(path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(OUT / path, nested(STATE))
    expect(path, "orbax-ocdbt", STATE)


def orbax_chunked(path):
    """Chunks smaller than the arrays, as sharded training leaves them."""
    tensors = {"w/value": entry([30, 64, 7], 6, "F32"), "h/value": entry([257, 9], 7, "BF16")}
    checkpointer = ocp.PyTreeCheckpointer()
    tree = nested(tensors)
    save_args = {name: {"value": ocp.SaveArgs(chunk_byte_size=2048)} for name in tree}
    checkpointer.save(OUT / path, tree, save_args=save_args)
    expect(path, "orbax-ocdbt", tensors)


# --- TensorStore -------------------------------------------------------------------------------


def write_array(kvstore, tensor, spec):
    data = values(tensor["shape"], tensor["seed"], tensor["dtype"])
    ts.open({"driver": "zarr", "kvstore": kvstore, **spec}, create=True).result().write(data).result()


def v2(tensor, chunks=None, stored=None, **metadata):
    dtypes = {"F32": "<f4", "F16": "<f2", "BF16": "bfloat16"}
    return {
        "driver": "zarr",
        "metadata": {
            "shape": tensor["shape"],
            "chunks": chunks or [max(1, size) for size in tensor["shape"]],
            "dtype": stored or dtypes[tensor["dtype"]],
            "compressor": None,
            **metadata,
        },
    }


def v3(tensor, codecs, chunks=None, **metadata):
    dtypes = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    return {
        "driver": "zarr3",
        "metadata": {
            "shape": tensor["shape"],
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": chunks or tensor["shape"]},
            },
            "data_type": dtypes[tensor["dtype"]],
            "codecs": codecs,
            **metadata,
        },
    }


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
ZSTD = {"name": "zstd", "configuration": {"level": 3}}
GZIP = {"name": "gzip", "configuration": {"level": 5}}
CRC = {"name": "crc32c"}


def blosc3(cname, shuffle, typesize):
    configuration = {"cname": cname, "clevel": 5, "shuffle": shuffle, "typesize": typesize, "blocksize": 0}
    return {"name": "blosc", "configuration": configuration}


def sharded(inner, codecs):
    configuration = {"chunk_shape": inner, "codecs": codecs, "index_codecs": [BYTES, CRC]}
    return {"name": "sharding_indexed", "configuration": configuration}


def zarr_codecs(path):
    """Every codec and layout, in one folder without OCDBT."""
    tensors, specs = {}, {}

    def add(name, shape, seed, dtype, make, *args, **kwargs):
        tensors[name] = entry(shape, seed, dtype)
        specs[name] = make(tensors[name], *args, **kwargs)

    for i, cname in enumerate(["blosclz", "lz4", "lz4hc", "zlib", "zstd"]):
        for shuffle in range(3):
            blosc = {"id": "blosc", "cname": cname, "clevel": 5, "shuffle": shuffle, "blocksize": 0}
            dtype = list(DTYPES)[(i + shuffle) % 3]
            add(f"v2/blosc_{cname}_{shuffle}", [13, 17], 10 + 3 * i + shuffle, dtype, v2, compressor=blosc)
    add("v2/none", [6, 7], 30, "F32", v2, [4, 3])
    add("v2/zstd", [6, 7], 31, "BF16", v2, [4, 3], compressor={"id": "zstd", "level": 1})
    add("v2/zlib", [6, 7], 32, "F16", v2, [6, 2], compressor={"id": "zlib", "level": 1})
    add("v2/gzip", [6, 7], 33, "F32", v2, [1, 7], compressor={"id": "gzip", "level": 1})
    add("v2/fortran", [3, 4, 5], 34, "F32", v2, [2, 3, 5], order="F", compressor={"id": "zstd", "level": 1})
    add("v2/fortran_bf16", [3, 4], 35, "BF16", v2, order="F")
    add("v2/big_f32", [9], 36, "F32", v2, [4], stored=">f4")
    add("v2/big_f16", [9], 37, "F16", v2, stored=">f2", compressor={"id": "zlib", "level": 1})
    add("v2/slashes", [5, 5], 38, "F32", v2, [2, 2], dimension_separator="/")
    add("v2/zeros", [5, 5], None, "F32", v2, [2, 2])
    add("v2/omitted", [5, 5], None, "F16", v2, [2, 2], fill_value=0.0)
    add("v2/large", [96, 1100], 39, "BF16", v2, [64, 1100], compressor={"id": "zstd", "level": 1})
    add("v3/none", [6, 7], 40, "F32", v3, [BYTES], [4, 3])
    add("v3/zstd", [6, 7], 41, "BF16", v3, [BYTES, ZSTD], [4, 3])
    add("v3/gzip_crc", [6, 7], 42, "F16", v3, [BYTES, GZIP, CRC], [4, 3])
    add("v3/big", [6, 7], 43, "BF16", v3, [BIG, ZSTD], [4, 3])
    add("v3/blosc", [6, 70], 44, "F32", v3, [BYTES, blosc3("lz4", "shuffle", 4)], [4, 30])
    transpose = {"name": "transpose", "configuration": {"order": [2, 0, 1]}}
    add("v3/transpose", [3, 4, 5], 45, "F16", v3, [transpose, BYTES, ZSTD], [2, 4, 3])
    add("v3/sharded", [10, 12], 46, "BF16", v3, [sharded([2, 3], [BYTES, ZSTD])], [6, 6])
    add("v3/sharded_crc", [5], 47, "F32", v3, [sharded([2], [BYTES, CRC])], [4])
    add("v3/scalar", [], 48, "F32", v3, [BYTES])
    add("v3/zeros", [4, 4], None, "BF16", v3, [BYTES], [2, 2])
    v2_keys = {"name": "v2", "configuration": {"separator": "."}}
    add("v3/v2_keys", [4, 4], 49, "F32", v3, [BYTES], [2, 2], chunk_key_encoding=v2_keys)
    for name, spec in specs.items():
        write_array({"driver": "file", "path": f"{OUT / path / name}/"}, tensors[name], spec)
    # A sharded array of which one inner chunk was never written: it reads as the fill value.
    partial = entry([4, 4], "partial", "F32")
    spec = v3(partial, [sharded([2, 2], [BYTES])], fill_value=2.5)
    store = ts.open({"kvstore": f"file://{OUT / path}/v3/partial/", **spec}, create=True).result()
    store[0:2, 0:4].write(np.ones((2, 4), np.float32)).result()
    tensors["v3/partial"] = partial
    counter = {"driver": "zarr", "metadata": {"shape": [2], "chunks": [2], "dtype": "<i8", "compressor": None}}
    store = ts.open({"kvstore": f"file://{OUT / path}/counter/", **counter}, create=True).result()
    store.write(np.array([1, 2], np.int64)).result()
    expect(path, "orbax-zarr", tensors, ["counter"])


def ocdbt_tree(path, compression, node_bytes, inline_bytes, generations):
    """Many keys in small nodes, written in several commits."""
    tensors = {}
    config = {
        "compression": compression,
        "max_decoded_node_bytes": node_bytes,
        "max_inline_value_bytes": inline_bytes,
    }
    base = f"file://{OUT / path}/"
    kvstore = ts.KvStore.open({"driver": "ocdbt", "base": base, "config": config}).result()
    names = [f"layer_{i % 10}.block{i}.w" for i in range(48)]
    per_commit = -(-len(names) // generations)
    for first in range(0, len(names), per_commit):
        transaction = ts.Transaction()
        for i, name in list(enumerate(names))[first : first + per_commit]:
            tensor = entry([2, 1 + i % 3], 50 + i, list(DTYPES)[i % 3])
            tensors[name.replace(".", "/")] = tensor
            metadata = v2(tensor)["metadata"]
            metadata |= {"zarr_format": 2, "order": "C", "filters": None, "fill_value": None}
            metadata |= {"dimension_separator": "."}
            data = values(tensor["shape"], tensor["seed"], tensor["dtype"]).tobytes()
            kvstore.with_transaction(transaction)[f"{name}/.zarray"] = json.dumps(metadata).encode()
            kvstore.with_transaction(transaction)[f"{name}/0.0"] = data
        transaction.commit_async().result()
    expect(path, "orbax-ocdbt", tensors)


def tiny(path, compression):
    """A few numbers in several encodings, with and without OCDBT: what the fuzz tests mutate."""
    tensors = {
        "a.w": entry([3, 4], 1, "BF16"),
        "b.w": entry([5], 2, "F32"),
        "c.w": entry([4, 2], 3, "F16"),
        "d.w": entry([2, 2], 4, "F32"),
        "e.w": entry([4], 5, "BF16"),
    }
    blosc = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
    specs = {
        "a.w": v2(tensors["a.w"], [2, 4], compressor={"id": "zstd", "level": 1}),
        "b.w": v2(tensors["b.w"], [2]),
        "c.w": v3(tensors["c.w"], [sharded([2, 1], [BYTES, ZSTD])]),
        "d.w": v2(tensors["d.w"], compressor=blosc),
        "e.w": v3(tensors["e.w"], [BYTES, GZIP, CRC]),
    }
    plain = OUT / "tiny_zarr"
    if compression == "plain":
        for name, spec in specs.items():
            write_array({"driver": "file", "path": f"{plain / name}/"}, tensors[name], spec)
    else:  # the same keys in one commit
        limits = {"max_decoded_node_bytes": 500, "max_inline_value_bytes": 40}
        config = {"compression": compression and {"id": compression}, **limits}
        base = f"file://{OUT / path}/"
        kvstore = ts.KvStore.open({"driver": "ocdbt", "base": base, "config": config}).result()
        with ts.Transaction() as transaction:
            for file in sorted(plain.glob("*/**/*")):
                if file.is_file():
                    key = file.relative_to(plain).as_posix()
                    kvstore.with_transaction(transaction)[key] = file.read_bytes()
    key_metadata = lambda name: [{"key": part, "key_type": 2} for part in name.split(".")]
    value_metadata = {"value_type": "jax.Array", "skip_deserialize": False}
    tree = {
        str(tuple(name.split("."))): {"key_metadata": key_metadata(name), "value_metadata": value_metadata}
        for name in tensors
    }
    metadata = {"tree_metadata": tree, "store_array_data_equal_to_fill_value": True}
    (OUT / path / "_METADATA").write_text(json.dumps(metadata))
    fmt = "orbax-zarr" if compression == "plain" else "orbax-ocdbt"
    expect(path, fmt, {name.replace(".", "/"): tensor for name, tensor in tensors.items()})


# --- npz and safetensors -----------------------------------------------------------------------


def npz(path, save):
    tensors = {
        "params/img/embedding/kernel": entry([3, 4], 80, "F32"),
        "params/llm/half": entry([5], 81, "F16"),
        "params/llm/brain": entry([2, 3], 82, "BF16"),
        "params/llm/fortran": entry([3, 4, 5], 83, "F32"),
        "params/llm/scalar": entry([], 84, "F32"),
        "params/llm/empty": entry([0, 3], 85, "F32"),
        "params/llm/larger": entry([20, 30], 86, "F16"),
    }
    arrays = {name: values(t["shape"], t["seed"], t["dtype"]) for name, t in tensors.items()}
    arrays["params/llm/fortran"] = np.asfortranarray(arrays["params/llm/fortran"])
    save(OUT / path, **arrays, step=np.int64(3), precise=np.float64([0.1]))
    expect(path, "npz", tensors, ["precise", "step"])


def safetensors(path):
    shards = [
        {"a": entry([3, 4], 90, "F32"), "b.weight": entry([5], 91, "BF16")},
        {"c.bias": entry([2, 2], 92, "F16")},
    ]
    (OUT / path).mkdir(parents=True)
    weight_map = {"steps": "model-00002-of-00002.safetensors"}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        arrays = {key: values(t["shape"], t["seed"], t["dtype"]) for key, t in shard.items()}
        if i == 1:
            arrays["steps"] = np.array([4], np.int64)
        save_file(arrays, OUT / path / name)
        weight_map |= {key: name for key in shard}
    index = {"metadata": {"total_size": 74}, "weight_map": weight_map}
    (OUT / path / "model.safetensors.index.json").write_text(json.dumps(index))
    expect(path, "safetensors", shards[0] | shards[1], ["steps"])


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    orbax_manager("openpi")
    orbax_manager("ocdbt_zarr3", use_zarr3=True)
    orbax_manager("plain", use_ocdbt=False)
    orbax_manager("plain_zarr3", use_ocdbt=False, use_zarr3=True)
    orbax_standard("standard")
    orbax_chunked("chunked")
    zarr_codecs("codecs")
    ocdbt_tree("tree_zstd", {"id": "zstd"}, 600, 0, 3)
    ocdbt_tree("tree_none", None, 900, 100, 24)
    tiny("tiny_zarr", "plain")
    tiny("tiny_ocdbt", None)
    tiny("tiny_ocdbt_zstd", "zstd")
    npz("stored.npz", np.savez)
    npz("deflated.npz", np.savez_compressed)
    safetensors("sharded")
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
