"""Makes a checkout of openpi importable without what its numbers do not need.

torch, transformers, downloads and the like are replaced by empty modules; what openpi computes with
stays as it is.
"""

import importlib.abc
import importlib.machinery
import sys
import types

EMPTY = (
    "torch",
    "transformers",
    "sentencepiece",
    "numpydantic",
    "safetensors",
    "openpi.models_pytorch",
    "openpi.models.utils.fsq_tokenizer",
    "openpi.shared.download",
)


class EmptyModule(types.ModuleType):
    """Any name in it is a class that nobody is an instance of."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class EmptyFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path, target=None):
        if any(fullname == name or fullname.startswith(name + ".") for name in EMPTY):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        module = EmptyModule(spec.name)
        if spec.name == "numpydantic":
            module.NDArray = object
        return module

    def exec_module(self, module):
        pass


def use_openpi(checkout):
    """Import openpi from here on from `checkout`, a pathlib.Path."""
    sys.meta_path.insert(0, EmptyFinder())
    sys.path[:0] = [str(checkout / "src"), str(checkout / "packages/openpi-client/src")]
