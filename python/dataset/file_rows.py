"""From the events of one input file to finished rows, block by block: to be written to disk, or trained on at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import FileError
from ..events.columns import Chunk
from ..events.hashing import event_hash
from ..events.reader import EventFile, broken_file
from ..events.view import view
from .categories import categories_of
from .event_block import EventBlock
from .identity import assign, stored_type
from .info import SPLITS
from .inputs import ChosenRows
from .repeats import EventLog, content_hashes
from .shards import ShardRecord
from .table import TableBuilder, TableBuilders, dataset_info


class FileRows:
    """The rows of one input file.

    Whatever is wrong with the expressions is found when this is made, before the first event is read. NanoAOD without
    events has not the branches of its tables: of such a file only the ``Runs`` tree counts.

    Parameters
    ----------
    builders
        Of the analysis, for the conversion.
    sample
        The sample the file belongs to.
    number
        Its place among all input files.
    file
        The opened file.
    """

    def __init__(self, builders: TableBuilders, sample: str, number: int, file: EventFile) -> None:
        self._analysis = analysis = builders.analysis
        self._file = file = view(file, analysis)
        self._builder: TableBuilder | None = None
        try:
            self._builder = builders.for_file(file, sample)
        except FileError:
            if file.entries:
                raise
        self._categories = categories_of(analysis.inputs)
        self._origin = {"sample": list(analysis.samples).index(sample), "file": number}

    def blocks(
        self, record: ShardRecord, within: tuple[int, int] | None = None, log: EventLog | None = None
    ) -> Iterator[EventBlock]:
        """Make the rows of all chunks of the file, or of the entries ``within`` (start, stop), and book them.

        Hashes of the events go to the ``log``.

        Blocks are sorted by split. Their inputs live in buffers that the next block overwrites. A file without events
        gives one empty block, which still has all columns, if the file has them.
        """
        if within is None:
            with broken_file(self._file.path, "the Runs tree cannot be read"):
                record.gen_sum_of_weights = self._file.gen_sum_of_weights()
        builder = self._builder
        if builder is None:
            return
        record.begin(dataset_info(self._analysis))
        record.lacks, record.likely = builder.lacks, builder.likely
        if not self._file.entries:
            yield self._block(builder, builder.empty_chunk(), record, log)
        for chunk in self._file.chunks(builder.columns, within=within):
            yield self._block(builder, chunk, record, log)

    def _block(self, builder: TableBuilder, chunk: Chunk, record: ShardRecord, log: EventLog | None) -> EventBlock:
        split = self._analysis.split
        frame = builder.frame(chunk)
        weights = builder.weights(frame)
        record.sum_of_weights += float(weights.sum())
        rows = builder.select(frame, record.accounting, weights)
        entries = chunk.start + rows.events
        identity = {n: v[rows.events] for n, v in builder.identity(frame).items()}
        hashes = event_hash(identity, self._file.uuid, entries, split.seed)
        side, fold = assign(hashes, split)
        record.largest_weight = max(record.largest_weight, float(np.abs(weights[rows.events]).max(initial=0.0)))
        order = np.argsort(side, kind="stable")
        rows = ChosenRows(rows.positions[order], rows.events[order])
        table = builder.table(frame, rows, record.accounting)
        stored = {n: v[order].astype(stored_type(n)) for n, v in identity.items()}
        stored["entry"] = entries[order]
        stored["sample"] = np.full(len(order), self._origin["sample"], "u2")
        stored["file"] = np.full(len(order), self._origin["file"], "u4")
        block = EventBlock(
            table.inputs, weights[rows.events].astype(np.float32), fold[order],
            np.searchsorted(side[order], np.arange(len(SPLITS) + 1)), table.label, table.targets, stored, table.keep,
        )  # fmt: skip
        record.book(block, self._categories)
        if log is not None:
            pairs = content_hashes(table.inputs, rows, hashes[order], self._file.uuid, entries[order])
            record.hashed += len(pairs)
            log.append(pairs)
        builder.mend(frame, rows, table)
        return block
