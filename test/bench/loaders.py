"""Ways from files to the batches of a training: NanoForge's, those of peers, and tensors that lie in memory already.

A batch holds ``event`` (B, 10), ``jets`` (B, 20, 6), ``mask`` (B, 20) and ``label`` (B,), in the order of axes that the
loader has. Events are cut, features shifted, scaled and clipped, jets padded, rows shuffled. Loaders of ROOT files do
all this as they read; those of HDF5 find rows that are cut, clipped and padded. The second epoch is timed: what a
loader does once, such as compiling or filling its memory, does not count.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from data import FEED

Work = Callable[[], dict[str, Any]]
Batches = Iterable[dict[str, torch.Tensor]]
BATCH = 1024
POOL = 32 * BATCH
"""Rows that are shuffled at a time, where a loader lets one choose: as many as NanoForge's."""
JETS = FEED.collections["Jet"]
SCALARS = [name for name in FEED.scalars if name != "isSignal"]
SHIFT, SCALE, EDGE = 40.0, 0.02, 5.0
CUT = "MET_pt > 20"


def _second_epoch(epoch: Callable[[int], Batches], check: bool) -> Work:
    """Go through one epoch at once, and return the work of another."""
    for _ in epoch(0):
        pass
    return _epoch(epoch, 1, check)


def _epoch(epoch: Callable[[int], Batches], number: int, check: bool) -> Work:
    """Return the work of one epoch; ``check`` adds up the values of the batches."""

    def work() -> dict[str, Any]:
        sums: dict[str, float] = {}
        rows = 0
        for batch in epoch(number):
            rows += len(batch["label"])
            for name, values in batch.items() if check else ():
                sums[name] = sums.get(name, 0.0) + float(values.double().sum())
        return {"rows": rows, "checksums": sums}

    return work


# -- NanoForge --------------------------------------------------------------------------------------------------------


def analysis(source: str, layout: str = "tensors") -> dict[str, Any]:
    """Write the feed as an analysis file says it."""

    def feature(name: str) -> dict[str, str]:
        return {name: f"clip(({name} - {SHIFT}) * {SCALE}, -{EDGE}, {EDGE})"}

    return {
        "name": "bench",
        "samples": {"all": {"files": source}},
        "select": {"met": CUT},
        "inputs": {
            "event": {"features": [feature(name) for name in SCALARS]},
            "jets": {"collection": "Jet", "length": JETS.length, "features": [feature(name) for name in JETS.fields]},
        },
        "target": {"classes": {"background": "isSignal == 0", "signal": "isSignal == 1"}},
        "split": {"train": 1.0, "val": 0.0, "test": 0.0},
        "dataset": {"layout": layout},
    }


def dataset(scratch: Path, source: str, output: str, layout: str) -> Work:
    """Convert the ROOT file into the HDF5 files that others read."""
    from nanoforge.stages.convert import convert

    loaded = _load(scratch, analysis(source, layout))
    shutil.rmtree(output, ignore_errors=True)
    return lambda: {"rows": convert(loaded, Path(output)).details["rows"]["train"]}


def streamed(scratch: Path, source: str, check: bool = False) -> Work:
    """Read the ROOT file itself, without a conversion; it is read once before, to count its rows."""
    from nanoforge.dataset.open import open_dataset

    opened = open_dataset(_load(scratch, analysis(source)), in_memory="never")
    opened.prepare(scratch)
    return _second_epoch(_ours(opened), check)


def first_epoch(scratch: Path, source: str) -> Work:
    """Read the ROOT file itself, with the pass that counts its rows."""
    from nanoforge.dataset.open import open_dataset

    loaded = _load(scratch, analysis(source))

    def work() -> dict[str, Any]:
        opened = open_dataset(loaded, in_memory="never")
        opened.prepare(scratch)
        return _epoch(_ours(opened), 0, check=False)()

    return work


def hdf5(scratch: Path, source: str, in_memory: str, check: bool = False) -> Work:
    """Read a dataset."""
    from nanoforge.dataset.open import open_dataset

    return _second_epoch(_ours(open_dataset(Path(source), in_memory=in_memory)), check)


def _ours(data: Any) -> Callable[[int], Batches]:
    def epoch(number: int) -> Batches:
        for batch in data.batches("train", 0, BATCH, shuffle=True, seed=1, epoch=number):
            yield _tensors(batch)

    return epoch


def _tensors(batch: Any) -> dict[str, torch.Tensor]:
    inputs = batch.inputs
    return {"event": inputs["event"], "jets": inputs["jets"], "mask": inputs["jets_mask"], "label": batch.label}


def _load(scratch: Path, content: dict[str, Any]) -> Any:
    from nanoforge.config import load

    path = scratch / "analysis.yaml"
    path.write_text(yaml.safe_dump(content))
    return load(path)


# -- tensors in memory ------------------------------------------------------------------------------------------------


def in_memory(scratch: Path, source: str, check: bool = False) -> Work:
    """Pick the rows of a random order from tensors that hold all."""
    tensors = _resident(source)

    def epoch(number: int) -> Batches:
        order = torch.randperm(len(tensors["label"]))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            yield {name: values.index_select(0, rows) for name, values in tensors.items()}

    return _second_epoch(epoch, check)


def _resident(source: str) -> dict[str, torch.Tensor]:
    from nanoforge.dataset.open import open_dataset

    return _tensors(open_dataset(Path(source)).arrays("train", 0))


# -- training ---------------------------------------------------------------------------------------------------------


def train_from_hdf5(scratch: Path, source: str) -> Work:
    from nanoforge.dataset.open import open_dataset

    return _second_epoch(_trained(_ours(open_dataset(Path(source), in_memory="never"))), check=False)


def train_from_tensors(scratch: Path, source: str) -> Work:
    """Train on slices of tensors in memory, not even shuffled: the network alone."""
    tensors = _resident(source)

    def epoch(number: int) -> Batches:
        for start in range(0, len(tensors["label"]), BATCH):
            yield {name: values[start : start + BATCH] for name, values in tensors.items()}

    return _second_epoch(_trained(epoch), check=False)


def _trained(epoch: Callable[[int], Batches]) -> Callable[[int], Batches]:
    """Train an MLP of 3 x 128 with the batches as they pass; one thread, so that CPU seconds compare."""
    torch.set_num_threads(1)
    widths = [len(SCALARS) + JETS.length * len(JETS.fields), 128, 128, 128]
    layers = [m for i, o in zip(widths, widths[1:]) for m in (torch.nn.Linear(i, o), torch.nn.ReLU())]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 2))
    optimizer = torch.optim.AdamW(network.parameters())

    def trained(number: int) -> Batches:
        for batch in epoch(number):
            inputs = torch.cat([batch["event"], batch["jets"].flatten(1)], dim=1)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs), batch["label"]).backward()
            optimizer.step()
            yield batch

    return trained


# -- weaver -----------------------------------------------------------------------------------------------------------


def weaver(scratch: Path, source: str, in_memory: bool, check: bool = False) -> Work:
    """Feed with weaver-core's ``SimpleIterDataset``, set up as its ``train.py`` does, without worker processes.

    In memory it goes on for ever, shuffling again when it has given all rows.
    """
    from torch.utils.data import DataLoader
    from weaver.utils.dataset import SimpleIterDataset

    config = scratch / "data.yaml"
    config.write_text(yaml.safe_dump(_weaver_config()))
    rows = SimpleIterDataset(
        {"_": [source]},
        str(config),
        batch_size=BATCH,
        load_range_and_fraction=((0, 1), 1, 1),
        fetch_step=1 if in_memory else 0.1,
        infinity_mode=in_memory,
        in_memory=in_memory,
        name="train",
    )
    loader = DataLoader(rows, batch_size=BATCH)

    def epoch(number: int) -> Batches:
        for x, y, _ in loader:
            yield {**x, "label": y["_label_"]}

    return _second_epoch(_first(_passing(source), epoch) if in_memory else epoch, check)


def _weaver_config() -> dict[str, Any]:
    def scaled(names: Iterable[str]) -> list[list[Any]]:
        return [[name, SHIFT, SCALE, -EDGE, EDGE] for name in names]

    constituents = {"length": JETS.length, "pad_mode": "constant"}
    return {
        "treename": "Events",
        "selection": CUT,
        "new_variables": {"jet_mask": "ak.ones_like(Jet_pt)", "isBackground": "isSignal == 0"},
        "preprocess": {"method": "manual", "params": None},
        "inputs": {
            "event": {"length": None, "vars": scaled(SCALARS)},
            "jets": {**constituents, "vars": scaled(f"Jet_{name}" for name in JETS.fields)},
            "mask": {**constituents, "vars": [["jet_mask", None]]},
        },
        "labels": {"type": "simple", "value": ["isBackground", "isSignal"]},
    }


def _first(rows: int, epoch: Callable[[int], Batches]) -> Callable[[int], Batches]:
    """End an epoch that goes on for ever after so many rows."""

    def ending(number: int) -> Batches:
        for start, batch in zip(range(0, rows, BATCH), epoch(number)):
            yield {name: values[: rows - start] for name, values in batch.items()}

    return ending


def _passing(source: str) -> int:
    import uproot

    return int((uproot.open(source)["Events/MET_pt"].array(library="np") > 20).sum())


# -- ROOT -------------------------------------------------------------------------------------------------------------

_HELPERS = """
float bench_scaled(float x) { return std::clamp((x - %(shift)sf) * %(scale)sf, -%(edge)sf, %(edge)sf); }
ROOT::RVecF bench_scaled(const ROOT::RVecF &x) { return ROOT::VecOps::Map(x, [](float v) { return bench_scaled(v); }); }
"""


def root(scratch: Path, source: str, check: bool = False) -> Work:
    """Feed with ROOT's ``RDataLoader`` on an RDataFrame that cuts, clips and makes the mask.

    Its first epoch is timed: of a filtered RDataFrame that it shuffles, ROOT 6.40 gives nothing but zeros in the
    second. What cling compiles it has compiled in the warm-up, which has the same expressions.
    """
    import ROOT

    if not hasattr(ROOT, "bench_scaled"):
        ROOT.gInterpreter.Declare(_HELPERS % {"shift": SHIFT, "scale": SCALE, "edge": EDGE})
    frame = ROOT.RDataFrame("Events", source).Filter(CUT)
    jets = [f"Jet_{name}" for name in JETS.fields]
    for name in [*SCALARS, *jets]:
        frame = frame.Define(f"scaled_{name}", f"bench_scaled({name})")
    frame = frame.Define("mask", "ROOT::RVecF(Jet_pt.size(), 1.f)")
    vectors = [*(f"scaled_{name}" for name in jets), "mask"]
    loader = ROOT.Experimental.ML.RDataLoader(
        frame,
        batch_size=BATCH,
        batches_in_memory=POOL // BATCH,
        columns=[*(f"scaled_{name}" for name in SCALARS), *vectors, "isSignal"],
        max_vec_sizes=dict.fromkeys(vectors, JETS.length),
        target="isSignal",
        drop_remainder=False,
        set_seed=1,
    ).as_torch()
    split = [len(SCALARS), len(jets) * JETS.length, JETS.length]

    def epoch(number: int) -> Batches:
        for x, y in loader:
            event, constituents, mask = x.split(split, dim=1)
            yield {"event": event, "jets": constituents, "mask": mask, "label": y}

    return _epoch(epoch, 0, check)


# -- salt -------------------------------------------------------------------------------------------------------------


def salt(scratch: Path, source: str, check: bool = False) -> Work:
    """Feed with salt's ``SaltDataset`` and batch sampler from the layout that it wants."""
    from salt.data.datasets import SaltDataset
    from salt.data.samplers import RandomBatchSampler
    from torch.utils.data import DataLoader

    rows = SaltDataset(
        Path(source) / "train.h5",
        Path(source) / "norm_dict.yaml",
        {"event": SCALARS, "jets": list(JETS.fields)},
        "fit",
        labels={"event": ["label"]},
        global_object="event",
    )
    loader = DataLoader(rows, batch_size=None, sampler=RandomBatchSampler(rows, BATCH, shuffle=True))

    def epoch(number: int) -> Batches:
        for inputs, padding, labels in loader:
            yield {**inputs, "mask": ~padding["jets"], "label": labels["event"]["label"]}

    return _second_epoch(epoch, check)
