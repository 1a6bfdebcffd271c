"""Prints the top-1 accuracy of model files on the digits' test images, measured with onnxruntime."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).parent
TEST = HERE / "digits_test.npz"
ACCURACY = HERE / "accuracy.json"


def load(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images [N, 1, 8, 8] and labels [N] of one of the data files."""
    with np.load(path) as data:
        return data["image"], data["labels"]


def predict(model: Path, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """The predicted class of each image [N]; the first of equals."""
    import onnxruntime as ort

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(scores.argmax(axis=1))


def row(model: Path, correct: int, changed: int, labels: int) -> str:
    """One line of the table: size on disk, accuracy, and how many predictions differ from the first model's."""
    return f"{model.name:<24} {model.stat().st_size:>10,} {correct / labels:>8.2%} {correct:>5}/{labels} {changed:>8}"


def main() -> None:
    """Print one line a model; with ``--write-accuracy``, record the first one's."""
    parser = argparse.ArgumentParser(description="Top-1 accuracy of digits models on the test images.")
    parser.add_argument("models", type=Path, nargs="+", help="ONNX files; the first is what the others are compared to")
    parser.add_argument("--write-accuracy", action="store_true", help=f"write the first model's to {ACCURACY.name}")
    arguments = parser.parse_args()
    images, labels = load(TEST)
    print(f"{'model':<24} {'bytes':>10} {'top-1':>8} {'correct':>9} {'changed':>8}")
    predictions = [predict(model, images) for model in arguments.models]
    for model, predicted in zip(arguments.models, predictions, strict=True):
        print(row(model, int((predicted == labels).sum()), int((predicted != predictions[0]).sum()), len(labels)))
    if arguments.write_accuracy:
        correct = int((predictions[0] == labels).sum())
        record = {"model": arguments.models[0].name, "data": TEST.name, "samples": len(labels), "correct": correct}
        ACCURACY.write_text(json.dumps(record | {"top1": round(correct / len(labels), 6)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
