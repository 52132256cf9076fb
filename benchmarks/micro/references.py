"""What the probes of rates and of halo tiles must give, in NumPy, from their definitions: no code is shared with the kernels or the model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from atrous.probes import halo as halo_probes
from atrous.probes import rate_loads, rate_wgmma
from atrous.probes.probe import Arrays, Probe


def numbers(bits: np.ndarray) -> np.ndarray:
    """Return the values of bfloat16 given by their bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def swizzled(rows: np.ndarray) -> np.ndarray:
    """Return bytes [rows, 32, 64 or 128] as the copy engine lays them: piece j of 16 bytes goes to j ^ (line of 128 bytes), in its row."""
    count, span = rows.shape
    pieces = rows.reshape(count, span // 16, 16)
    found = np.empty_like(pieces)
    for row in range(count):
        for piece in range(span // 16):
            found[row, piece ^ row * span // 128 % (span // 16)] = pieces[row, piece]
    return found.reshape(-1)


def last_of_ring(stages: list[np.ndarray], slots: int) -> np.ndarray:
    """Return the slots of a ring after these stages."""
    return np.concatenate([stages[max(range(slot, len(stages), slots))] for slot in range(slots)])


def copy(probe: Probe, given: Arrays) -> np.ndarray:
    """Return y of a copy."""
    return given["x"]


def empty(probe: Probe, given: Arrays) -> np.ndarray:
    """Return y as it is filled before a run, which a kernel that does nothing leaves."""
    return np.full(probe.output[0], 0xAB, probe.output[1])


def resident(probe: Probe, given: Arrays) -> np.ndarray:
    """Return the product of the rows of a with those of b, as many times as there are rounds."""
    _, rows, n = probe.output[0]
    x = numbers(given["x"])
    assert x.shape == (rows + n, rate_wgmma.DEPTH)
    return np.broadcast_to(probe.size[0] * (x[:rows] @ x[rows:].T), probe.output[0])


def tile_of(given: Arrays) -> np.ndarray:
    """Return the [100, 64] pixels of a halo tile: x itself, or an image of 8 x 8 pixels and the zeros around it."""
    x = numbers(given["x"])
    return x if x.ndim == 2 else np.pad(x[0], ((1, 1), (1, 1), (0, 0))).reshape(halo_probes.PIXELS, halo_probes.CHANNELS)


def halo(probe: Probe, given: Arrays) -> np.ndarray:
    """Return the products of 8 x 8 pixels of a tile with the weights, from each of its first rows on."""
    tile, w = tile_of(given), numbers(given["w"])
    pixels = np.array([halo_probes.PITCH * (m // 8) + m % 8 for m in range(64)])
    products = [tile[probe.size[0] + block + pixels] @ w.T for block in range(probe.output[0][0])]
    return probe.size[1] * np.stack([product if "<true>" in probe.kernel else product.T for product in products])


def im2col(probe: Probe, given: Arrays) -> np.ndarray:
    """Return what the slots hold of the columns of a 3x3 convolution."""
    x = given["x"]
    n, h, w, channels = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tiles, slots = probe.size[:2]
    blocks, every = probe.output[0][0], -(-n * h * w // rate_loads.PIXELS)
    shown = []
    for block in range(blocks):
        stages = []
        for i in range(tiles):
            first = (block + blocks * i) % every * rate_loads.PIXELS
            for r in range(3):
                taps = np.zeros((3, rate_loads.PIXELS, channels), x.dtype)
                for s in range(3):
                    column = padded[:, r : r + h, s : s + w].reshape(-1, channels)[first : first + rate_loads.PIXELS]
                    taps[s, : len(column)] = column
                stages.append(np.concatenate([swizzled(np.ascontiguousarray(tap).view(np.uint8)) for tap in taps]))
        shown.append(last_of_ring(stages, slots))
    return np.stack(shown)


def boxes(probe: Probe, given: Arrays) -> np.ndarray:
    """Return what the slots hold of tiles of 128 rows, the same in both blocks of a pair."""
    rows = given["x"].view(np.uint8)
    tiles, slots, every = probe.size[:3]
    pairs = probe.output[0][0] // 2
    found = []
    for pair in range(pairs):
        starts = [(pair + pairs * i) % every * rate_loads.ROWS for i in range(tiles)]
        found += 2 * [last_of_ring([swizzled(rows[start : start + rate_loads.ROWS]) for start in starts], slots)]
    return np.stack(found)


#: first word of a kernel's name -> its reference
REFERENCES: dict[str, Callable[[Probe, Arrays], np.ndarray]] = {
    "probe_copy_vectors": copy,
    "probe_empty": empty,
    "probe_resident_wgmma": resident,
    "probe_halo_stored": halo,
    "probe_halo_copied": halo,
    "probe_stream_im2col": im2col,
    "probe_stream_tiles": boxes,
    "probe_stream_multicast": boxes,
}


def expected(probe: Probe, given: Arrays) -> np.ndarray:
    """Return y of a probe for its inputs."""
    found = REFERENCES[probe.kernel.partition("<")[0]](probe, given)
    return np.ascontiguousarray(found, probe.output[1]).reshape(probe.output[0])


def wrong_in_each(probe: Probe, given: Arrays, y: np.ndarray) -> list[int]:
    """Return how many elements of y differ from the reference, in each of its first axis: of each block, most often."""
    return [int(count) for count in (y != expected(probe, given)).reshape(len(y), -1).sum(axis=1)]
