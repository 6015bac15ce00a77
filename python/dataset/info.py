"""What a dataset holds, as its writers record it in the manifest and its readers rely on it.

Layout ``tensors``: a directory with ``train.h5``, ``val.h5`` and ``test.h5``, each an HDF5 file of virtual datasets
over ``shards/*.h5`` (plain h5py opens them), of which there are few: many input files share one. The manifest says how
many rows every shard, and every sample, has in each of them, in order. For an input ``event`` of F features and one,
``jets``, of F features of at most L constituents, N rows::

    /event/features (N, F) f4                            attrs: names, expressions
    /jets/features  (N, L, F) f4   /jets/valid (N, L) bool    padding is 0 and invalid; with L above 512 in their place:
    /jets/contents  (M, F) f4      /jets/offsets (N + 1,) i8  row i has the contents offsets[i] to offsets[i + 1]
    /ecal/cells (M, 2) u1     /ecal/channels (M, C) f4     /ecal/offsets    of hits on images, see :mod:`.sparse`
    /target/label (N,) i8   or   /target/<name> (N,) f4
    /weight (N,) f4        the physics weight: xsec * lumi / sumw * weight; negative weights are kept
    /fold (N,) u1
    /id/{run,luminosityBlock,event,entry,sample,file}    /keep/<name>    the first three: as "identity" says
    /normalisation/<input>/{center,scale} (F,) f4        from valid, finite entries of the training split only
    /normalisation/<input>/{fold_center,fold_scale} (K, F) f4     the same without fold i, where there are K > 1 folds

With K > 1 folds, fold i is the test set of model i: it trains on the rows of ``train.h5`` with fold != i, is validated
on those of ``val.h5`` with fold != i, and is tested on the rows of both with fold == i; ``test.h5`` is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

NORMALISATION = "normalisation"
SPLITS = ("train", "val", "test")
LONGEST_PADDED = 512
"""Of longer inputs HDF5 holds the constituents without padding."""
_READ_BYTES = 1 << 28


@dataclass(frozen=True)
class ImageInfo:
    """How the hits of an input are drawn.

    The features of a hit are ``eta`` and ``phi`` relative to the middle of the image, then one for each of C channels.

    Attributes
    ----------
    grid
        The input whose grid it is: itself, or the one that it is drawn onto.
    size
        Pixels in eta and in phi, (H, W).
    pixel
        Their size in eta and in phi.
    cell
        How many pixels in eta and in phi a hit covers: (1, 1) unless its detector is coarser than the grid.
    circular
        Whether the W columns are the whole circle.
    combine
        What becomes of several hits in a pixel, for each channel: "sum", "max", "count" or "hardest".
    scale
        What a pixel's value becomes, for each channel: "none", "sqrt", "linear(x)" or "log1p(x)"; None is in units of
        the channel's root mean square over the hits of the training.
    deterministic
        Whether sums are equal bit by bit also on a GPU.
    """

    grid: str
    size: tuple[int, int]
    pixel: tuple[float, float]
    combine: tuple[str, ...]
    scale: tuple[str | None, ...]
    cell: tuple[int, int] = (1, 1)
    circular: bool = False
    deterministic: bool = False


@dataclass(frozen=True)
class PreparationInfo:
    """What a model makes of the F features of an input before its network, or its trees, see them.

    Attributes
    ----------
    scales
        How networks scale each feature: "standard", "robust", "minmax", "log", "quantile" or "none".
    categories
        The categories of each feature; empty for one that is a number.
    widths
        How many numbers a category becomes in networks, for each feature; 0 for one that is a number.
    components
        How many principal components networks see in place of the features that are numbers; None: the features.
    """

    scales: tuple[str, ...]
    categories: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]
    components: int | None = None

    @property
    def numbers(self) -> list[int]:
        """Positions of the features that are numbers."""
        return [i for i, categories in enumerate(self.categories) if not categories]

    @property
    def width(self) -> int:
        """What a network sees in place of the F features."""
        return sum(self.widths) + (len(self.numbers) if self.components is None else self.components)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PreparationInfo:
        """Rebuild what ``asdict`` and JSON made of it."""
        categories = tuple(map(tuple, content["categories"]))
        return cls(tuple(content["scales"]), categories, tuple(content["widths"]), content["components"])


@dataclass(frozen=True)
class InputInfo:
    """One input: names of its F features; ``length`` L for constituents, None for features of the row itself.

    With an ``image`` the constituents are hits, as :class:`ImageInfo` says. What a model does with the features is its
    ``preparation``; None, as for datasets, is to standardise them all.
    """

    features: tuple[str, ...]
    length: int | None = None
    image: ImageInfo | None = None
    preparation: PreparationInfo | None = None

    @property
    def width(self) -> int:
        """How many numbers a network sees in place of the F features."""
        return len(self.features) if self.preparation is None else self.preparation.width

    @property
    def components(self) -> int | None:
        """How many principal components networks see in place of features that are numbers; None: the features."""
        return None if self.preparation is None else self.preparation.components

    @property
    def categories(self) -> dict[int, tuple[int, ...]]:
        """The categories of those features that are no numbers, by position."""
        return {} if self.preparation is None else {i: c for i, c in enumerate(self.preparation.categories) if c}

    @property
    def sparse(self) -> bool:
        """Whether HDF5 holds the constituents without padding."""
        return self.length is not None and self.length > LONGEST_PADDED

    @property
    def row_bytes(self) -> int:
        """Bytes of a row with its padding."""
        return (4 * len(self.features) + (self.length is not None)) * (self.length or 1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        image = {} if self.image is None else {"image": {k: _plain(v) for k, v in asdict(self.image).items()}}
        prepared = {} if self.preparation is None else {"preparation": asdict(self.preparation)}
        return {"features": list(self.features), "length": self.length} | image | prepared

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> InputInfo:
        """Rebuild what :meth:`as_dict` wrote."""
        image = content.get("image")
        drawn = None if image is None else ImageInfo(**{k: _frozen(v) for k, v in image.items()})
        prepared = content.get("preparation")
        preparation = None if prepared is None else PreparationInfo.from_dict(prepared)
        return cls(tuple(content["features"]), content["length"], drawn, preparation)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class DatasetInfo:
    """Shape and meaning of a dataset."""

    row: str
    inputs: dict[str, InputInfo]
    classes: tuple[str, ...]
    regression: tuple[str, ...]
    folds: int

    def most_rows(self, rows: int) -> int:
        """Return how many rows to read at once, ``rows`` at most: those with their padding in 256 MB."""
        return max(1, min(rows, _READ_BYTES // sum(info.row_bytes for info in self.inputs.values())))

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self) | {"inputs": {name: info.as_dict() for name, info in self.inputs.items()}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DatasetInfo:
        """Rebuild what :meth:`as_dict` wrote."""
        inputs = {name: InputInfo.from_dict(info) for name, info in content["inputs"].items()}
        return cls(
            content["row"], inputs, tuple(content["classes"]), tuple(content["regression"]), int(content["folds"])
        )
