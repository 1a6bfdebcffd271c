"""Trains the digits example's model and exports it; the only file of the project that needs PyTorch.

The committed ``digits.onnx`` came from torch 2.13.0 on a CPU, in an environment of its own:

    python3.11 -m venv torchenv
    torchenv/bin/pip install torch==2.13.0 onnx onnxscript numpy
    torchenv/bin/python examples/digits/train.py

Afterwards ``evaluate.py --write-accuracy`` measures the new model on the test images. The export keeps every
BatchNorm as it was trained, as models from the field often do: folding them is the compiler's work.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
SEED = 1
EPOCHS = 40
BATCH = 64
OPSET = 17


def conv_bn(channels_in: int, channels_out: int) -> list[nn.Module]:
    """A 3 × 3 convolution that keeps the image's size, and its BatchNorm."""
    return [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out)]


class DigitsNet(nn.Module):
    """Two Conv+BN+ReLU, a pooling, one residual block of the same, global average pooling, a classifier."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, width), nn.ReLU(), *conv_bn(width, 2 * width), nn.ReLU(), nn.MaxPool2d(2))
        self.block = nn.Sequential(*conv_bn(2 * width, 2 * width), nn.ReLU(), *conv_bn(2 * width, 2 * width))
        self.head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10] of images [N, 1, 8, 8]."""
        features = self.stem(image)
        return self.head(features + self.block(features))


def train(images: torch.Tensor, labels: torch.Tensor) -> DigitsNet:
    """A model trained for ``EPOCHS`` passes over the images in an order that ``SEED`` fixes."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    model = DigitsNet()
    steps = EPOCHS * -(-len(labels) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows], label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    return model


def export(model: DigitsNet, path: Path) -> None:
    """Write the model with a symbolic batch; PRESERVE keeps the exporter from folding BatchNorm into Conv."""
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 8, 8),),
        path,
        dynamo=False,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )


def main() -> None:
    """Train on ``digits_train.npz`` and write the model."""
    parser = argparse.ArgumentParser(description="Train the digits example's model and export it to ONNX.")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "digits.onnx", help="the file to write")
    output: Path = parser.parse_args().output
    with np.load(HERE / "digits_train.npz") as data:
        images, labels = torch.from_numpy(data["image"]), torch.from_numpy(data["labels"])
    export(train(images, labels), output)
    print(f"{output}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
