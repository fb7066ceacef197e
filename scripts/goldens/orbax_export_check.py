"""Restores an exported checkpoint with the real Orbax and compares every array bit by bit.

Run: pip install -r scripts/goldens/requirements.txt
     python scripts/goldens/orbax_export_check.py DIR TENSORS.safetensors [--restore-type jax]

Restoring as jax.Array needs a jax as young as Orbax wants: jax 0.5.3 goes with orbax 0.11.13, openpi's pair.
Restoring as NumPy arrays was checked with orbax 0.11.24 too.

DIR is what `deno task checkpoint convert SRC DIR --format orbax` wrote, TENSORS the same arrays as
safetensors, such as `params/model.safetensors` of a Tendon checkpoint or what `convert --format
safetensors --dtype …` wrote: names below `actor_backbone/` or with openpi's own paths. Restoring is
done the way openpi does it: the tree is asked for under "params", and a last key "value" is stripped.
With `--openpi CHECKOUT` the actor is restored by openpi's own `restore_params`; that needs what
openpi_golden.py needs, with orbax 0.11.13. Prints a JSON object and ends with 1 if anything differs.
"""

import argparse
import json
import pathlib
import sys

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp


def read_safetensors(path):
    """Names to arrays; written out here since safetensors' numpy side has no bfloat16."""
    dtypes = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[begin:end], dtypes[entry["dtype"]])
        arrays[name] = array.reshape(entry["shape"])
    return arrays


def flatten(tree, path=()):
    if not isinstance(tree, dict):
        return {path: tree}
    flat = {}
    for key, value in tree.items():
        flat.update(flatten(value, (*path, key)))
    return flat


def restore(directory, root, restore_type):
    with ocp.PyTreeCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(directory)
        tree = metadata.item_metadata.tree if hasattr(metadata, "item_metadata") else metadata
        item = {root: tree[root]}
        sharding = None
        if restore_type is jax.Array:
            mesh = jax.sharding.Mesh(jax.devices(), ("x",))
            sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        arguments = jax.tree.map(
            lambda _: ocp.ArrayRestoreArgs(sharding=sharding, restore_type=restore_type), item
        )
        restored = checkpointer.restore(
            directory, ocp.args.PyTreeRestore(item=item, restore_args=arguments)
        )[root]
    flat = flatten(restored)
    if all(path[-1] == "value" for path in flat):
        flat = {path[:-1]: value for path, value in flat.items()}
    return {"/".join(path): np.asarray(value) for path, value in flat.items()}


def restore_by_openpi(checkout, directory, restore_type):
    import openpi_imports

    openpi_imports.use_openpi(checkout)
    from openpi.models import model

    restored = flatten(model.restore_params(directory, restore_type=restore_type))
    return {"/".join(path): np.asarray(value) for path, value in restored.items()}


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("directory", type=pathlib.Path)
parser.add_argument("tensors", type=pathlib.Path)
parser.add_argument("--restore-type", choices=["numpy", "jax"], default="numpy")
parser.add_argument("--openpi", type=pathlib.Path, metavar="CHECKOUT")
arguments = parser.parse_args()
restore_type = np.ndarray if arguments.restore_type == "numpy" else jax.Array

root = arguments.directory.resolve()
expected, critic = {}, {}
for name, array in read_safetensors(arguments.tensors).items():
    if name.startswith("value_head/"):
        critic[name.removeprefix("value_head/")] = array
    else:
        expected[name.removeprefix("actor_backbone/")] = array
if arguments.openpi is None:
    found = restore(root / "params", "params", restore_type)
else:
    found = restore_by_openpi(arguments.openpi, root / "params", restore_type)
differences = [f"{name} is in one of the two only" for name in expected.keys() ^ found.keys()]
pairs = [(name, expected[name], found[name]) for name in expected.keys() & found.keys()]
if critic:
    head = restore(root / "value_head", "value_head", restore_type)
    differences += [f"value_head/{name} is in one of the two only" for name in critic.keys() ^ head.keys()]
    pairs += [(f"value_head/{name}", critic[name], head[name]) for name in critic.keys() & head.keys()]
for name, want, have in pairs:
    if want.shape != have.shape or want.dtype != have.dtype:
        differences.append(f"{name} is {have.dtype}{list(have.shape)}, expected {want.dtype}{list(want.shape)}")
    elif want.tobytes() != have.tobytes():
        differences.append(f"{name} has other values")
print(json.dumps({"arrays": len(pairs), "differences": sorted(differences), "orbax": ocp.__version__,
                  "by": "restore_params" if arguments.openpi else "orbax"}))
sys.exit(1 if differences else 0)
