"""Exported graphs under ONNX Runtime: one event at a time, as ``cmsRun`` gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..events.columns import Chunk


def open_session(graph: bytes | Path) -> Any:
    """Load a graph for one thread of the CPU; any exception where that is not possible."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = str(graph) if isinstance(graph, Path) else graph
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def feeds(chunk: Chunk, names: Iterable[str]) -> Iterator[dict[str, np.ndarray]]:
    """Yield the columns of every event as a graph takes them: (1,) f4, or (1, n) f4 of n objects."""
    columns = {name: chunk.columns[name] for name in names}
    for event in range(chunk.size):
        feed: dict[str, np.ndarray] = {}
        for name, column in columns.items():
            if column.offsets is None:
                feed[name] = column.content[event : event + 1].astype(np.float32)
            else:
                start, stop = column.offsets[event : event + 2]
                feed[name] = column.content[start:stop].astype(np.float32)[np.newaxis]
        yield feed
