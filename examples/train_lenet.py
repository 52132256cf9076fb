"""Trains the digits network that `atrous demo` shows and writes its weights and its held-out images.

    python examples/train_lenet.py --out DIR

Needs PyTorch and scikit-learn (`pip install torch scikit-learn`), less than a minute on one core and no GPU. The data are the 1,797
scans of scikit-learn's `load_digits`. Samples 2, 5, 8, ... (every third, 599 in all) are held out: they take no part in
training, nor in choosing the layers, the number of epochs or any other setting. Those were chosen with `--validate`, which trains
on four fifths of the other 1,198 samples and scores the remaining fifth. Each writer's digits occur on both sides of either split.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from atrous.nets import lenet

FIRST_HELD_OUT, HELD_OUT_STEP = 2, 3
VALIDATION_STEP = 5
SEED = 20
BATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-3
LABEL_SMOOTHING = 0.05
LARGEST_SHIFT = 1.0  # pixels, drawn from the continuous range so that strokes blur a little as well


def initial_parameters() -> dict[str, torch.Tensor]:
    """Return He-initialised weights (K,R,S,C) and zero biases (K,) by name."""
    generator = torch.Generator().manual_seed(SEED)
    channels, parameters = 1, {}
    for entry in lenet.ARCHITECTURE:
        if "filters" in entry:
            shape = (entry["filters"], *entry["window"], channels)
            deviation = math.sqrt(2 / math.prod(shape[1:]))
            parameters[f"{entry['name']}.weight"] = torch.randn(shape, generator=generator) * deviation
            parameters[f"{entry['name']}.bias"] = torch.zeros(shape[0])
            channels = entry["filters"]
    return {name: value.requires_grad_() for name, value in parameters.items()}


def forward(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the logits (N, 10) of x (N, 8, 8, 1) through PyTorch's own operations."""
    x = x.permute(0, 3, 1, 2)
    for entry in lenet.ARCHITECTURE:
        if "pool" in entry:
            pool = {"max": functional.max_pool2d, "avg": functional.avg_pool2d}[entry["pool"]]
            x = pool(x, entry["window"])
            continue
        weight = parameters[f"{entry['name']}.weight"].permute(0, 3, 1, 2)
        padding = entry.get("padding", "valid")
        x = functional.conv2d(x, weight, parameters[f"{entry['name']}.bias"], padding=padding, dilation=entry.get("dilation", 1))
        if entry.get("activation") == "relu":
            x = functional.relu(x)
    return x.flatten(1)


def shifted(x: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Return x (N, 8, 8, 1) with each image moved by up to LARGEST_SHIFT pixels, bilinear, zeros outside."""
    size = x.shape[1]
    moves = torch.from_numpy(random.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, (len(x), 2)).astype(np.float32)) * (2 / size)
    transform = torch.eye(2, 3).repeat(len(x), 1, 1)
    transform[:, :, 2] = moves
    grid = functional.affine_grid(transform, [len(x), 1, size, size], align_corners=False)
    return functional.grid_sample(x.permute(0, 3, 1, 2), grid, align_corners=False).permute(0, 2, 3, 1)


def train(images: np.ndarray, labels: np.ndarray, epochs: int) -> dict[str, torch.Tensor]:
    """Return the parameters after `epochs` passes of AdamW with a cosine schedule over shifted images."""
    random = np.random.default_rng(SEED)
    x, target = torch.from_numpy(lenet.scaled(images)), torch.from_numpy(labels.astype(np.int64))
    parameters = initial_parameters()
    optimiser = torch.optim.AdamW(parameters.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(epochs):
        total = 0.0
        for batch in np.array_split(random.permutation(len(x)), math.ceil(len(x) / BATCH)):
            chosen = torch.from_numpy(batch)
            loss = functional.cross_entropy(forward(parameters, shifted(x[chosen], random)), target[chosen], label_smoothing=LABEL_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d} of {epochs}: mean loss {total / len(x):.4f}", flush=True)
    return {name: value.detach() for name, value in parameters.items()}


def accuracy_by_torch(parameters: dict[str, torch.Tensor], images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images whose label PyTorch predicts."""
    with torch.no_grad():
        predicted = forward(parameters, torch.from_numpy(lenet.scaled(images))).argmax(1).numpy()
    return float(np.mean(predicted == labels))


def accuracy_by_atrous(weights: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images whose label atrous predicts, through its NumPy engine."""
    x = lenet.scaled(images)
    logits = lenet.build(weights).plan(x.shape, engine="arrays")(x)
    return float(np.mean(logits.reshape(len(x), -1).argmax(1) == labels))


def save(directory: Path, weights: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray) -> None:
    """Write the two archives that the package ships."""
    directory.mkdir(parents=True, exist_ok=True)
    archives: dict[str, dict[str, Any]] = {
        "lenet_weights.npz": weights,
        "digits_held_out.npz": {"images": images, "labels": labels, "first": np.array(FIRST_HELD_OUT), "step": np.array(HELD_OUT_STEP)},
    }
    for name, arrays in archives.items():
        np.savez_compressed(directory / name, **arrays)
        print(f"wrote {directory / name}, {(directory / name).stat().st_size:,} bytes")


def main() -> None:
    """Train, report the held-out accuracy twice, and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="directory for lenet_weights.npz and digits_held_out.npz")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training images (default 60)")
    parser.add_argument("--validate", action="store_true", help="score a fifth of the training images instead; write nothing")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the order of summation, and so the last bits, would follow the number of threads
    torch.use_deterministic_algorithms(True)

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    held_out = np.arange(len(images)) % HELD_OUT_STEP == FIRST_HELD_OUT
    if options.validate:
        images, labels = images[~held_out], labels[~held_out]
        held_out = np.arange(len(images)) % VALIDATION_STEP == 0
    print(f"{np.sum(~held_out)} images to train on, {np.sum(held_out)} to score")
    parameters = train(images[~held_out], labels[~held_out], options.epochs)
    if options.validate:
        print(f"validation accuracy by torch {100 * accuracy_by_torch(parameters, images[held_out], labels[held_out]):.2f} %")
        return
    weights = {name: value.numpy() for name, value in parameters.items()}
    save(options.out, weights, images[held_out], labels[held_out])
    by_torch = accuracy_by_torch(parameters, images[held_out], labels[held_out])
    by_atrous = accuracy_by_atrous(weights, images[held_out], labels[held_out])
    print(f"held-out accuracy by torch  {100 * by_torch:.2f} %")
    print(f"held-out accuracy by atrous {100 * by_atrous:.2f} %")


if __name__ == "__main__":
    main()
