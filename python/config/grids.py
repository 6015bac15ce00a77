"""How the images of an analysis fit together: which are drawn on one grid, and what a hit covers there."""

from __future__ import annotations

from collections.abc import Mapping

from .images import Image
from .inputs import Input
from .training import Augmentation

_WHOLE = 0.01  # by how much a cell may differ from a whole number of pixels: 0.087 is 4.985 times 0.0174533


def grid_of(inputs: Mapping[str, Input], name: str) -> Image:
    """Return the image whose grid an input with an image is drawn on."""
    image = _image(inputs[name])
    return image if image.onto is None else _image(inputs[image.onto])


def cell_of(inputs: Mapping[str, Input], name: str) -> tuple[int, int]:
    """Return how many pixels in eta and phi a hit of an input covers.

    Raises
    ------
    ValueError
        When that is no whole number.
    """
    image, grid = _image(inputs[name]), grid_of(inputs, name)
    if image.onto is None or image.pixel is None:
        return 1, 1
    ratios = [own / fine for own, fine in zip(image.pixel, grid.pixels)]
    eta, phi = (max(1, round(ratio)) for ratio in ratios)
    if any(abs(ratio - cell) > _WHOLE * cell for ratio, cell in zip(ratios, (eta, phi))):
        raise ValueError(
            f"inputs.{name}.image.pixel: {image.pixel[0]:g} by {image.pixel[1]:g} is no whole multiple of the pixels "
            f"of {image.onto}, {grid.pixels[0]:g} by {grid.pixels[1]:g}: change one of them"
        )
    if grid.size is not None and (eta > grid.size[0] or phi > grid.size[1]):
        raise ValueError(f"inputs.{name}.image.pixel: a hit is larger than the image of {image.onto}")
    return eta, phi


def check_images(inputs: Mapping[str, Input], row: str) -> None:
    """Raise a ValueError where images do not fit together, or the rows."""
    images = {name: block.image for name, block in inputs.items() if block.image is not None}
    for name, image in images.items():
        key = f"inputs.{name}.image"
        if image.around == "row" and row == "event":
            raise ValueError(f"{key}.around: rows are events, which have no direction: say seed, or [<eta>, <phi>]")
        if image.onto is None:
            continue
        if image.onto not in images or images[image.onto].onto is not None:
            others = ", ".join(n for n, other in images.items() if other.onto is None) or "none"
            raise ValueError(f"{key}.onto: {image.onto!r} has no grid of its own: there are {others}")
        coarse = cell_of(inputs, name) != (1, 1)
        if coarse and "hardest" in image.combine.values():
            raise ValueError(f"{key}.combine: 'hardest' is not for hits that cover several pixels: say sum or max")


def check_augmentation(inputs: Mapping[str, Input], augment: Augmentation) -> None:
    """Raise a ValueError where there is nothing to mirror."""
    channels = [channel for block in inputs.values() if block.image is not None for channel in block.image.channels]
    for key in ("flip_eta", "flip_phi"):
        if getattr(augment, key) and not channels:
            raise ValueError(f"training.augment.{key}: mirrors images, and no input has one")
    for name in augment.signed:
        if name not in channels:
            raise ValueError(f"training.augment.signed: no image has a channel {name!r}")
    if augment.signed and not augment.flip_phi:
        raise ValueError("training.augment.signed: signs change with flip_phi only: set it, or remove them")


def _image(block: Input) -> Image:
    assert block.image is not None  # noqa: S101 - only asked of those
    return block.image
