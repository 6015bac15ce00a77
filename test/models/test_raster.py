"""Hits drawn on a grid: what must hold of any picture, and that every way of drawing gives the same one."""

from __future__ import annotations

import math

import numpy as np
import old_runtime
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.dataset.info import ImageInfo
from nanoforge.models.raster import Raster, scaled

PIXEL = 0.0174533
CHANNELS = ("sum", "max", "count", "hardest")


def image(size=(6, 9), pixel=(PIXEL, PIXEL), combine=("sum",), scale=None, **more):
    return ImageInfo("ecal", size, pixel, combine, scale or ("none",) * len(combine), **more)


def draw(info, hits, valid=None):
    hits = torch.as_tensor(np.asarray(hits, np.float32))
    valid = torch.ones(hits.shape[:2], dtype=torch.bool) if valid is None else torch.as_tensor(valid)
    return Raster(info)(hits, valid).numpy()


def make_hits(seed, rows=3, hits=20, size=(6, 9), pixel=PIXEL, channels=1, margin=0.45):
    """Hits all over the grid and beyond, each well inside its cell."""
    rng = np.random.default_rng(seed)
    cells = np.stack([rng.integers(-2, n + 2, (rows, hits)) - (n - 1) / 2 for n in size], axis=-1)
    positions = (cells + rng.uniform(-margin, margin, cells.shape)) * pixel
    return np.concatenate([positions, rng.exponential(1, (rows, hits, channels))], axis=2).astype("f4")


def on_grid(hits, size=(6, 9), pixel=PIXEL):
    return (np.abs(hits[..., :2]) < np.array(size) / 2 * pixel).all(axis=-1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), deterministic=st.booleans(), rows=st.integers(0, 4), hits=st.integers(0, 30))
def test_a_picture_holds_what_numpy_counts(seed, deterministic, rows, hits):
    given_hits = make_hits(seed, rows, hits)
    valid = np.random.default_rng(seed).random((rows, hits)) < 0.7
    picture = draw(image(deterministic=deterministic), given_hits, valid)
    assert picture.shape == (rows, 1, 6, 9)
    edges = [(np.arange(n + 1) - n / 2) * PIXEL for n in (6, 9)]
    for row, kept, drawn in zip(given_hits, valid, picture[:, 0]):
        eta, phi, energy = row[kept].T
        expected, _, _ = np.histogram2d(eta, phi, bins=edges, weights=energy)
        assert drawn == pytest.approx(expected, rel=1e-5, abs=1e-6)
    total = (given_hits[..., 2] * (valid & on_grid(given_hits))).sum(axis=1)
    assert picture.sum(axis=(1, 2, 3)) == pytest.approx(total, rel=1e-5, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), deterministic=st.booleans())
def test_the_order_of_hits_does_not_matter(seed, deterministic):
    hits = make_hits(seed, channels=4)
    info = image(combine=CHANNELS, deterministic=deterministic)
    shuffled = hits[:, np.random.default_rng(seed).permutation(hits.shape[1])]
    assert draw(info, shuffled) == pytest.approx(draw(info, hits), rel=1e-5, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), down=st.integers(-3, 3), right=st.integers(-3, 3))
def test_a_shift_of_the_hits_by_whole_pixels_shifts_the_picture(seed, down, right):
    hits = make_hits(seed)
    moved = hits + np.array([down * PIXEL, right * PIXEL, 0], np.float32)
    large = image(size=(20, 23))
    assert draw(large, moved)[:, :, 4:-4, 4:-4] == pytest.approx(
        np.roll(draw(large, hits), (down, right), axis=(2, 3))[:, :, 4:-4, 4:-4], rel=1e-5
    )


def test_what_hits_of_a_pixel_become():
    at = PIXEL / 2  # the pixel right of and above the middle of 6 by 8 ones
    hits = [[[at, at, 1.0, 7.0, 5.0, -3.0], [at, at, 4.0, 2.0, 5.0, -8.0], [at, -at, -2.0, -6.0, 0.0, 1.5]]]
    picture = draw(image(size=(6, 8), combine=CHANNELS), hits)
    assert picture[0, :, 3, 4].tolist() == [5.0, 7.0, 2.0, -8.0]
    assert picture[0, :, 3, 3].tolist() == [-2.0, -6.0, 1.0, 1.5]
    picture[0, :, 3, 3:5] = 0
    assert not picture.any()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cell=st.sampled_from([(1, 1), (3, 2)]), circular=st.booleans())
def test_hits_in_memory_are_drawn_as_in_a_graph(seed, cell, circular):
    """Bit by bit: what is exported scatters, and a CPU draws row by row."""
    hits = torch.from_numpy(make_hits(seed, channels=3))
    hits[0, 0, 0] = math.nan
    valid = torch.from_numpy(np.random.default_rng(seed).random((3, 20)) < 0.8)
    raster = Raster(image(combine=("sum", "count", "sum"), cell=cell, circular=circular))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nanoforge.models.raster.can_draw", lambda _: False)
        scattered = raster(hits, valid)
    assert torch.equal(raster(hits, valid), scattered) and scattered.any()
    assert torch.equal(raster(hits.clone().requires_grad_(), valid), scattered)


def test_rows_without_hits_are_empty_whatever_stands_in_padding():
    hits = np.full((2, 5, 6), np.nan, np.float32)
    hits[1, 0] = 0.001, 0.001, 1, 2, 3, 4
    valid = np.zeros((2, 5), bool)
    valid[1, 0] = True
    for deterministic in (False, True):
        picture = draw(image(size=(4, 4), combine=CHANNELS, deterministic=deterministic), hits, valid)
        assert not picture[0].any() and picture[1].sum() == 1 + 2 + 1 + 4
    assert draw(image(combine=CHANNELS), np.zeros((3, 0, 6))).shape == (3, 4, 6, 9)


@pytest.mark.parametrize(("text", "expected"), [("none", -3), ("sqrt", -(3**0.5)), ("linear(2)", -1.5)])
def test_scales_keep_sign_and_zero(text, expected):
    assert scaled(torch.tensor([-3.0, 0.0]), text).tolist() == pytest.approx([expected, 0])
    assert scaled(torch.tensor([-0.2]), "log1p(0.1)").item() == pytest.approx(-math.log(3))


def test_a_scale_applies_to_the_sum_in_a_pixel():
    assert draw(image(size=(1, 1), scale=("log1p(0.5)",)), [[[0, 0, 1.0], [0, 0, 2.0]]]).item() == pytest.approx(
        math.log(7)
    )


# --- coarse hits on a fine grid ---


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_coarse_hit_is_spread_evenly_over_the_pixels_that_it_covers(deterministic):
    hits = [[[1.5 * PIXEL, -2 * PIXEL, 6.0, 8.0, 1.0]]]  # rows 3 to 5 and columns 1 and 2 of 6 by 8
    info = image(size=(6, 8), combine=("sum", "max", "count"), cell=(3, 2), deterministic=deterministic)
    expected = np.zeros((6, 8))
    expected[3:6, 1:3] = 1
    for plane, value in zip(draw(info, hits)[0], (1.0, 8.0, 1 / 6)):
        assert plane == pytest.approx(value * expected)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cell=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_spreading_keeps_the_sum_of_what_is_on_the_grid(seed, cell):
    hits = make_hits(seed, size=(4, 4))
    whole = image(size=(30, 30), cell=cell)
    assert draw(whole, hits).sum(axis=(1, 2, 3)) == pytest.approx(hits[..., 2].sum(axis=1), rel=1e-5)
    part = draw(image(size=(10, 12), cell=cell), hits)  # the same picture, cut out
    assert part == pytest.approx(draw(whole, hits)[:, :, 10:20, 9:21], rel=1e-5, abs=1e-6)


def test_the_largest_of_overlapping_coarse_hits_is_taken():
    hits = [[[0, 0, -5.0], [PIXEL, 0, -7.0]]]
    assert draw(image(size=(3, 1), combine=("max",), cell=(1, 1)), hits)[0, 0, :, 0].tolist() == [0, -5, -7]
    assert draw(image(size=(4, 1), combine=("max",), cell=(2, 1)), hits)[0, 0, :, 0].tolist() == [0, -5, -5, -7]


# --- the whole circle ---


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cell=st.integers(1, 5), turns=st.integers(-2, 2))
def test_turning_the_detector_turns_the_picture(seed, cell, turns):
    columns, step = 36, 2 * math.pi / 36
    info = image(size=(6, columns), pixel=(PIXEL, step), cell=(1, cell), circular=True)
    hits = make_hits(seed, size=(6, columns), pixel=np.array([PIXEL, step]))
    picture = draw(info, hits)
    assert picture.sum() == pytest.approx((hits[..., 2] * (np.abs(hits[..., 0]) < 3 * PIXEL)).sum(), rel=1e-5)
    around = hits + np.array([0, 2 * math.pi * turns, 0], np.float32)
    assert draw(info, around) == pytest.approx(picture, rel=1e-5, abs=1e-6)
    further = hits + np.array([0, 7 * step, 0], np.float32)
    assert draw(info, further) == pytest.approx(np.roll(picture, 7, axis=3), rel=1e-5, abs=1e-6)


def test_a_coarse_hit_crosses_the_end_of_the_circle():
    step = 2 * math.pi / 8
    picture = draw(image(size=(1, 8), pixel=(1, step), cell=(1, 3), circular=True), [[[0, 3.5 * step, 3.0]]])
    assert picture[0, 0, 0] == pytest.approx([1, 0, 0, 0, 0, 0, 1, 1])


# --- in an ONNX graph ---


class Pictures(torch.nn.Module):
    """All that a raster can do: every way of combining, coarse hits, the whole circle, both ways of summing."""

    def __init__(self):
        super().__init__()
        scales = ("log1p(0.1)", "sqrt", "none", "linear(2)")
        step = 2 * math.pi / 18
        self.rasters = torch.nn.ModuleList(
            Raster(info)
            for info in (
                image(combine=CHANNELS, scale=scales),
                image(combine=CHANNELS, scale=scales, deterministic=True),
                image(combine=CHANNELS[:3], scale=scales[:3], cell=(2, 3)),
                image(
                    size=(6, 18), pixel=(PIXEL, step), combine=("sum",) * 4, scale=scales, cell=(1, 3), circular=True
                ),
            )
        )

    def forward(self, hits, mask):
        return torch.cat([raster(hits, mask > 0.5).flatten(1) for raster in self.rasters], dim=1)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    rows, length = torch.export.Dim("rows"), torch.export.Dim("length")
    program = torch.onnx.export(
        Pictures(),
        (torch.randn(3, 3, 6), torch.ones(3, 3)),
        dynamo=True,
        opset_version=18,
        input_names=["hits", "mask"],
        output_names=["pictures"],
        dynamic_shapes=({0: rows, 1: length}, {0: rows, 1: length}),
        external_data=False,
        verbose=False,
    )
    model = program.model_proto
    model.ir_version = 8
    assert [o.version for o in model.opset_import if o.domain == ""] == [18]
    path = tmp_path_factory.mktemp("onnx") / "pictures.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def feeds():
    for rows, length in ((1, 1), (2, 3), (33, 64), (4, 100)):
        hits = make_hits(rows, rows, length, channels=4)
        mask = (np.random.default_rng(rows).random((rows, length)) < 0.8).astype("f4")
        mask[:1] = 0
        yield {"hits": hits, "mask": mask}


def expected(feed):
    return Pictures()(torch.from_numpy(feed["hits"]), torch.from_numpy(feed["mask"])).numpy()


def test_onnx_draws_the_same(graph):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for feed in feeds():
        assert session.run(None, feed)[0] == pytest.approx(expected(feed), rel=1e-5, abs=1e-6)


def test_the_runtime_of_cmssw_draws_the_same(graph):
    for feed, (drawn,) in zip(feeds(), old_runtime.run(graph, list(feeds()), ("pictures",))):
        assert drawn == pytest.approx(expected(feed), rel=1e-5, abs=1e-6)
