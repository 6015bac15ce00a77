"""Find lists that describe the same objects although their names do not say so."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from .columns import Branch, collection_name
from .reader import EventFile


def lists_of_equal_lengths(file: EventFile, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Group lists that are equally long in the first events, where not all have the same length.

    Parameters
    ----------
    file
        The file.
    names
        The columns of lists that may be grouped.

    Returns
    -------
    dict
        Column names by collection and attribute, as ``collections`` of the analysis file has them.
    """
    chunk = next(file.chunks(names), None) if names else None
    if chunk is None:
        return {}
    alike: dict[bytes, list[str]] = {}
    for name in names:
        lengths = np.diff(np.asarray(chunk.columns[name].offsets))
        if len(lengths) and lengths.min() < lengths.max():
            alike.setdefault(lengths.tobytes(), []).append(name)
    groups: dict[str, dict[str, str]] = {}
    for members in (members for members in alike.values() if len(members) > 1):
        prefix = _common_words(members)
        collection = name = prefix.strip("_").capitalize() or "Object"
        number = 2
        while collection in groups:
            collection, number = f"{name}{number}", number + 1
        groups[collection] = {member[len(prefix) :]: member for member in members}
    return groups


def _common_words(names: Sequence[str]) -> str:
    """Return the words with which all names begin, each with its ``_``; at least one word of every name is left."""
    columns = zip(*(name.split("_")[:-1] for name in names))
    return "".join(f"{parts[0]}_" for parts in itertools.takewhile(lambda parts: len(set(parts)) == 1, columns))


def has_collection(members: Mapping[str, str], branches: Mapping[str, Branch]) -> str | None:
    """Return the collection that the names of lists say already; None where they say none, or several."""
    names = {collection_name(branches[member], branches) for member in members.values()}
    prefix = next(iter(names))
    plain = len(names) == 1 and all(member == f"{prefix}_{attribute}" for attribute, member in members.items())
    return prefix if plain else None
