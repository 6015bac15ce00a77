"""How jobs run on the grid: where their results go, and where they may run."""

from __future__ import annotations

from typing import Annotated, Optional

from pydantic import Field

from .base import Strict, of_form

Site = Annotated[str, of_form(r"T[0-3](_[A-Z]{2}(_\w+|_?\*)+|_?\*)", "a CMS site, such as T2_CH_CERN or T2_US_*")]
"""A CMS site, or several: ``T2_CH_CERN``, ``T2_US_*``."""
Folder = Annotated[
    str, of_form(r"/store/(user|group|local|test)/[\w./-]+", "a folder of the grid, such as /store/user/<you>/ttbar")
]


class Crab(Strict):
    """Jobs on the grid, through CRAB.

    ``site`` and ``output`` are where the results go: a site with space of yours, and a folder there
    (``/store/user/<you>/...``, ``/store/group/<group>/...``). ``whitelist`` and ``blacklist`` are where jobs may run;
    inputs that are in no dataset need a whitelist.
    """

    site: Site
    """Where the results go: a site at which you have space."""
    output: Folder
    """The folder there."""
    whitelist: Optional[Annotated[list[Site], Field(min_length=1)]] = None
    """Where jobs may run."""
    blacklist: Optional[Annotated[list[Site], Field(min_length=1)]] = None
    """Where jobs may not run."""
