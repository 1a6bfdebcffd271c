"""Reads calibration data and other inputs of a model from numpy's files; never unpickles."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcc.compiler import arrays as stored
from tcc.compiler import images, sources
from tcc.compiler.arrays import Array, Sample, Stored
from tcc.diagnostics import Diagnostic, Exit, TccError, fail
from tcc.ir.model import Model, tensor_type
from tcc.ir.types import TensorType

Feed = Mapping[str, Any]
Arrays = dict[str, Array]

_FORMS = (
    "a .npz with one array an input, a folder of .npz, .npy or ONNX test data sets, images:FOLDER, or module:function"
)


@dataclass(frozen=True)
class Data:
    """Feeds for a model, one sample each where its batch size is free, and what is to be said about them."""

    feeds: tuple[Feed, ...]
    notes: tuple[Diagnostic, ...] = ()


def read(source: str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]], model: Model) -> Data:
    """The samples of ``source``, checked against the model's inputs.

    Args:
        source: the path of an ``.npz`` whose arrays carry the names of the inputs (the first axis counts the
            samples), of a folder of ``.npz`` files or ``.npy`` files (named as the inputs, or samples of the
            only input), or of one of ONNX test data sets; ``images:FOLDER`` with a stated preparation
            (``tcc.compiler.images``); ``module:function``, which gives one mapping for each
            run; such arrays by name; or one mapping for each run of the model, taken as it is.
        model: whose inputs they are.

    Raises:
        TccError: exit DATA with everything that is wrong: E0601 names, E0602 types and shapes, E0604 NaN or
            infinity, E0605 no samples, E0606 not readable, E0607 no such file, E0608 a function that fails.
    """
    ports = _ports(model)
    is_images = isinstance(source, str) and source.startswith(images.PREFIX)
    if isinstance(source, str) and not is_images and sources.is_function(source) and not Path(source).exists():
        return _runs(sources.call(source), ports, source)
    if isinstance(source, str | Path) and not is_images and (sets := sources.test_data_sets(Path(source))):
        return _runs([sources.read_test_data_set(folder, list(ports)) for folder in sets], ports, str(source))
    if isinstance(source, str) and is_images:
        groups, where = [images.read(source, ports)], source
    elif isinstance(source, str | Path):
        groups, where = list(_groups(Path(source), ports)), str(source)
    elif isinstance(source, Mapping):
        groups, where = [{name: np.asarray(value) for name, value in source.items()}], "<calibration>"
    else:
        return Data(tuple(source))
    feeds, notes, problems = [], dict[str, Diagnostic](), list[Diagnostic]()
    for group in groups:
        extra = sorted(group.keys() - ports.keys())
        if extra:
            message = f"arrays that are no input are left out: {', '.join(extra)}"
            notes.setdefault(message, Diagnostic("N0601", message, where))
        wanted = {name: group[name] for name in ports if name in group}
        found = list(_problems(wanted, ports, where))
        problems += found
        feeds += [] if found else _samples(wanted, ports)
    if problems:
        raise TccError(Exit.DATA, problems)
    if not feeds:
        raise fail(Exit.DATA, "E0605", "there are no samples", where=where, help=f"give {_FORMS}")
    return Data(tuple(feeds), (*notes.values(), *sources.remarks(feeds, where)))


def _runs(feeds: Sequence[Feed], ports: Mapping[str, TensorType], where: str) -> Data:
    """Feeds that are one run of the model each, checked."""
    wanted = [{name: np.asarray(feed[name]) for name in ports if name in feed} for feed in feeds]
    if problems := list(dict.fromkeys(p for feed in wanted for p in _problems(feed, ports, where, batched=True))):
        raise TccError(Exit.DATA, problems)
    if not wanted:
        raise fail(Exit.DATA, "E0605", "there are no samples", where=where, help=f"give {_FORMS}")
    return Data(tuple(wanted), tuple(sources.remarks(wanted, where)))


def whole(source: str | Path, model: Model) -> tuple[Feed, ...]:
    """Inputs to run the model on once, as they lie in an ``.npz``; arrays with one axis more hold several runs.

    Raises:
        TccError: as ``read`` does.
    """
    ports = _ports(model)
    (arrays, *_) = [*_groups(Path(source), ports), {}]
    fit = all(len(kind.shape or ()) == arrays[name].ndim for name, kind in ports.items() if name in arrays)
    if not fit:
        return read(source, model).feeds
    wanted = {name: np.asarray(arrays[name]) for name in ports if name in arrays}
    if problems := list(_problems(wanted, ports, str(source), batched=True)):
        raise TccError(Exit.DATA, problems)
    return (wanted,)


def _ports(model: Model) -> dict[str, TensorType]:
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    kinds = {value.name or "": tensor_type(value) for value in inputs}
    if others := [name for name, kind in kinds.items() if kind is None]:
        message = f"inputs that are no tensors cannot be read from files: {', '.join(others)}"
        raise fail(Exit.DATA, "E0602", message, where=model.source, help="give their values through tcc.compile")
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _groups(path: Path, ports: Mapping[str, TensorType]) -> Iterator[Arrays]:
    """Arrays by name; one mapping for each file or set of files."""
    if not path.exists():
        raise fail(Exit.DATA, "E0607", "no such file or folder", where=str(path), help=f"give {_FORMS}")
    if not path.is_dir():
        loaded = load(path)
        yield loaded if isinstance(loaded, dict) else {next(iter(ports), ""): loaded}
        return
    files = sorted([*path.glob("*.npz"), *path.glob("*.npy")])
    single = [file for file in files if file.suffix == ".npy"]
    for file in files:
        if file.suffix == ".npz":
            yield from _groups(file, ports)
    if single and {file.stem for file in single} & ports.keys():
        yield {file.stem: _array(file) for file in single}
    elif single:
        if len(ports) != 1:
            message = "files are not named as the model's inputs"
            raise fail(Exit.DATA, "E0601", message, where=str(path), help=f"name them {', '.join(ports)}")
        ((name, kind),) = ports.items()
        yield from ({name: _batched(_array(file), kind)} for file in single)


def _batched(array: Array, kind: TensorType) -> Array:
    """The array with its axis of samples, which a file of a single one may lack."""
    if kind.rank != array.ndim + 1:
        return array
    return array.one() if isinstance(array, Stored) else array[None]


def _array(path: Path) -> Array:
    loaded = load(path)
    assert not isinstance(loaded, dict)
    return loaded


def load(path: Path) -> Array | Arrays:
    """What a file of numpy's holds: one array, or arrays by name; raises E0606 where it is no such file."""
    try:
        return stored.load(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        reason = "it holds pickled objects" if "pickle" in str(error) else str(error) or type(error).__name__
        advice = f"write it with numpy.savez from plain arrays; wanted is {_FORMS}"
        raise fail(Exit.DATA, "E0606", f"cannot be read: {reason}", where=str(path), help=advice) from error


def _problems(
    arrays: Mapping[str, Array], ports: Mapping[str, TensorType], where: str, *, batched: bool = False
) -> Iterator[Diagnostic]:
    if missing := [name for name in ports if name not in arrays]:
        message = f"there is no array for {', '.join(map(repr, missing))}"
        yield Diagnostic("E0601", message, where, help=f"the model's inputs are {', '.join(ports)}")
    for name, array in arrays.items():
        yield from _misfits(name, array, ports[name], where)
    counts = {name: _count(array, ports[name]) for name, array in arrays.items()}
    if not batched and len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        yield Diagnostic("E0602", f"the numbers of samples differ ({listed})", where, help="give as many of each")


def _misfits(name: str, array: Array, kind: TensorType, where: str) -> Iterator[Diagnostic]:
    if str(array.dtype) != kind.dtype and not (kind.dtype == "string" and array.dtype.kind in "OUS"):
        advice = f"convert it: array.astype({kind.dtype!r})"
        yield Diagnostic("E0602", f"{name} is {array.dtype}, should be {kind.dtype}", where, help=advice)
    shape = array.shape
    if kind.shape is not None:
        sample = shape[1:] if array.ndim == len(kind.shape) + 1 else shape
        # Along the first axis there may be as many as there are samples.
        fixed = (
            zip(kind.shape[1:], sample[1:], strict=False) if sample is shape else zip(kind.shape, sample, strict=False)
        )
        if len(sample) != len(kind.shape) or any(isinstance(d, int) and d != n for d, n in fixed):
            yield Diagnostic("E0602", f"{name} has the shape {list(shape)}, the input is {kind}", where,
                             help="the first axis counts the samples, the others are the input's")  # fmt: skip
    if count := stored.not_finite(array):
        message = f"{name} has {count} elements that are NaN or infinite"
        yield Diagnostic("E0604", message, where, help="clean the data")
    if array.size == 0:
        yield Diagnostic("E0605", f"{name} is empty", where, help="give at least one sample")


def _batch(kind: TensorType) -> int:
    """How many samples a run takes: the size of a fixed first dimension, else one."""
    first = kind.shape[0] if kind.shape else 1
    return first if isinstance(first, int) else 1


def _count(array: Array, kind: TensorType) -> int:
    """How many runs of the model an array is good for; a rest that fills no batch is left out."""
    if kind.rank is None or array.ndim == kind.rank + 1:
        return len(array)
    return len(array) // max(_batch(kind), 1) if array.ndim else 1


def _samples(arrays: Arrays, ports: Mapping[str, TensorType]) -> list[Feed]:
    if not arrays:
        return []
    count = min(_count(array, ports[name]) for name, array in arrays.items())
    if any(isinstance(array, Stored) for array in arrays.values()):
        return [
            Sample({name: functools.partial(_sample, array, ports[name], i) for name, array in arrays.items()})
            for i in range(count)
        ]
    return [{name: _sample(array, ports[name], i) for name, array in arrays.items()} for i in range(count)]


def _sample(array: Array, kind: TensorType, index: int) -> np.ndarray[Any, Any]:
    if kind.rank is None or array.ndim == kind.rank + 1:
        return np.ascontiguousarray(array[index])
    if not array.ndim:
        return np.asarray(array)
    size = max(_batch(kind), 1)
    return np.ascontiguousarray(array[index * size : (index + 1) * size])
