"""Writes the digits' training, calibration and test files from scikit-learn's copy of the data set.

The images are the 1,797 test images of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, licensed CC BY 4.0), as scikit-learn
(BSD 3-Clause) ships them in ``sklearn.datasets.load_digits``: 8 × 8 counts of ink from 0 to 16.

Run it with scikit-learn installed (``make test`` installs it): ``python examples/digits/make_data.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 20240
INPUT = "image"
"""The name of the model's input, and of the images in the files, so that each file is a feed as it stands."""
LABELS = "labels"

Split = dict[str, "NDArray[np.float32] | NDArray[np.int64]"]


def splits() -> dict[str, Split]:
    """The data in three disjoint, class-balanced parts: 60 % train, 20 % calib, 20 % test.

    Images are float32 [N, 1, 8, 8] in 0..1, ready for the model; labels are int64 [N].
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw, labels = load_digits(return_X_y=True)
    images = (raw / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = labels.astype(np.int64)
    train, held_out = train_test_split(np.arange(len(labels)), test_size=0.4, random_state=SEED, stratify=labels)
    calib, test = train_test_split(held_out, test_size=0.5, random_state=SEED, stratify=labels[held_out])
    parts = {"train": train, "calib": calib, "test": test}
    return {name: {INPUT: images[rows], LABELS: labels[rows]} for name, rows in parts.items()}


def main() -> None:
    """Write ``digits_<part>.npz`` for each part."""
    parser = argparse.ArgumentParser(description="Write the digits example's data files from scikit-learn.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the files go")
    folder: Path = parser.parse_args().folder
    for name, part in splits().items():
        path = folder / f"digits_{name}.npz"
        np.savez_compressed(path, allow_pickle=False, **part)
        print(f"{path}: {len(part[LABELS])} images")


if __name__ == "__main__":
    main()
