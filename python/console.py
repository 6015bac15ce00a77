"""What a user sees while a stage works: messages and progress on standard error, results on standard output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .provenance.accounting import Accounting

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


_silent: ContextVar[bool] = ContextVar("_silent", default=False)
_shown: ContextVar[Progress | None] = ContextVar("_shown", default=None)


def say(message: str) -> None:
    """Tell the user what happens, on standard error."""
    if not _silent.get():
        err.print(message, markup=False)


def size_text(size: int) -> str:
    """Write a number of bytes with three digits and a unit."""
    for unit, step in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return f"{size / step:.3g} {unit}" if size < 999.5 * step else f"{size / step:,.0f} {unit}"
    return f"{size} B"


@contextmanager
def hushed() -> Iterator[None]:
    """Show progress bars but no messages: of one of many trainings the details are too much."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Bar]:
    """Show a progress bar, within another one below it; nothing is drawn where standard error is no terminal."""
    outer = _shown.get()
    if outer is not None:
        bar = Bar(outer, description, total)
        try:
            yield bar
        finally:
            bar.remove()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as display:
        before = _shown.set(display)
        try:
            yield Bar(display, description, total)
        finally:
            _shown.reset(before)


class Bar:
    """A running progress bar."""

    def __init__(self, display: Progress, description: str, total: int | None) -> None:
        self._display = display
        self._task = display.add_task(description, total=total, note="")

    def advance(self, steps: float) -> None:
        """Move on by so many steps."""
        self._display.advance(self._task, steps)

    def remove(self) -> None:
        """Show it no longer."""
        self._display.remove_task(self._task)

    def note(self, text: str) -> None:
        """Show a short remark beside the bar, e.g. the loss."""
        self._display.update(self._task, note=text)


def show_table(table: Table) -> None:
    """Print with names whole: wider than the terminal where need be, and one line per row into a pipe or a file."""
    wish = out.measure(table, options=out.options.update(width=10_000))
    if out.is_terminal:
        table.width = min(wish.maximum, max(out.width, wish.minimum))
        out.print(table)
    else:
        table.width = wish.maximum
        with out.capture() as text:
            out.print(table)
        out.print("\n".join(line.rstrip() for line in text.get().splitlines()), markup=False)
    out.print()


def show_accounting(title: str, accounting: Accounting) -> None:
    """Print the event accounting, with the reason for every lost file."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    for label, count, share in accounting.lines():
        table.add_row(label, f"{count:,}", share)
    out.print(table)
    for loss in accounting.lost:
        entries = "an unknown number of" if loss.entries is None else f"{loss.entries:,}"
        out.print(f"lost {entries} events in {loss.file}: {loss.reason}", markup=False)
