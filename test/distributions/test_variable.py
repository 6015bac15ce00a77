"""Names of what is counted."""

from __future__ import annotations

from nanoforge.distributions.variable import plain_names


def test_labels_have_names_of_their_own_for_files() -> None:
    labels = ["Jet.pt", "Jet_pt", "jet pt", "num(Jet)", "$p_T$", "\N{GREEK SMALL LETTER ETA}", "()"]
    names = plain_names(labels)
    assert list(names) == labels and names["Jet.pt"] == "Jet_pt" and names["num(Jet)"] == "num_Jet"
    assert len({name.lower() for name in names.values()}) == len(labels)
    assert all(name and "/" not in name and " " not in name for name in names.values())
