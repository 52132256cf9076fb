"""A small LeNet-style network for 8x8 handwritten digits: its layers, its trained weights and its held-out images."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import Convolution, Network, Pooling

CLASSES = 10
PIXEL_LEVELS = 16  # a pixel counts the inked cells of a 4x4 block of the original scan

#: The layers in order. A convolution without `activation` is linear; "logits" is a dense layer, written as the
#: convolution whose window is the whole 2x2 map.
ARCHITECTURE: tuple[dict[str, Any], ...] = (
    {"name": "conv1", "filters": 16, "window": (3, 3), "padding": "same", "activation": "relu"},  # 8x8x1  -> 8x8x16
    {"name": "conv2", "filters": 32, "window": (3, 3), "padding": "same", "dilation": 2, "activation": "relu"},  # -> 8x8x32, sees 7x7
    {"name": "pool1", "pool": "max", "window": (2, 2)},  # -> 4x4x32
    {"name": "mix", "filters": 48, "window": (1, 1), "activation": "relu"},  # -> 4x4x48, pointwise
    {"name": "conv3", "filters": 64, "window": (3, 3), "padding": "same", "activation": "relu"},  # -> 4x4x64
    {"name": "pool2", "pool": "avg", "window": (2, 2)},  # -> 2x2x64
    {"name": "logits", "filters": CLASSES, "window": (2, 2)},  # -> 1x1x10
)

#: What a person reads beside a layer's maps.
NOTES = {
    "conv1": "3x3, relu",
    "conv2": "3x3, dilation 2, relu",
    "pool1": "max pool 2x2",
    "mix": "1x1, relu",
    "conv3": "3x3, relu",
    "pool2": "average pool 2x2",
    "logits": "dense, 2x2",
}


@dataclass(frozen=True)
class Digits:
    """Scans of handwritten digits with their labels; `first` and `step` say which samples of the original set they are."""

    images: NDArray[np.uint8]  # [N, 8, 8], 0..16
    labels: NDArray[np.uint8]  # [N]
    first: int
    step: int

    def pixels(self) -> NDArray[np.float32]:
        """Return the images as the network's input, (N, 8, 8, 1) float32 in 0..1."""
        return scaled(self.images)

    def sample(self, index: int) -> int:
        """Return the number, in the original set, of the image at `index`."""
        return self.first + self.step * index


def scaled(images: NDArray[Any]) -> NDArray[np.float32]:
    """Return images of 0..16, shape (N, 8, 8), as (N, 8, 8, 1) float32 in 0..1."""
    return (images.astype(np.float32) / np.float32(PIXEL_LEVELS))[..., np.newaxis]


def build(weights: dict[str, NDArray[np.float32]]) -> Network:
    """Return the network with these weights: ``NAME.weight`` (K,R,S,C) and ``NAME.bias`` (K,) for each convolution."""
    layers: list[Convolution | Pooling] = []
    for entry in ARCHITECTURE:
        options: dict[str, Any] = {word: entry[word] for word in ("padding", "dilation", "activation") if word in entry}
        name = entry["name"]
        if "pool" in entry:
            layers.append(Pooling(name, entry["window"], entry["pool"], options))
        else:
            layers.append(Convolution(name, weights[f"{name}.weight"], weights[f"{name}.bias"], options))
    return Network(tuple(layers))


def trained() -> Network:
    """Return the network with the weights that ``examples/train_lenet.py`` trained."""
    return build(_arrays("lenet_weights.npz"))


def held_out() -> Digits:
    """Return the 599 images that training never saw: every third sample of the 1,797."""
    arrays = _arrays("digits_held_out.npz")
    return Digits(arrays["images"], arrays["labels"], int(arrays["first"]), int(arrays["step"]))


def _arrays(file: str) -> dict[str, NDArray[Any]]:
    with resources.files(__package__).joinpath("data").joinpath(file).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
