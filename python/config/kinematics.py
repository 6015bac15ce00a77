"""Which features of the inputs are momenta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Optional

from .base import Identifier, Strict
from .inputs import Input


class Kinematics(Strict):
    """Which features of an input are the momenta of its constituents: GeV, radian, raw.

    By default they are called ``pt``, ``eta``, ``phi`` and ``mass``; where there is no ``mass``, ``energy`` will do.
    """

    pt: str = "pt"
    """The feature that is the transverse momentum."""
    eta: str = "eta"
    """The feature that is the pseudorapidity."""
    phi: str = "phi"
    """The feature that is the azimuth."""
    mass: Optional[str] = None
    """The feature that is the mass."""
    energy: Optional[str] = None
    """The feature that is the energy, in place of a mass."""

    def find(self, name: str, features: Sequence[str], quantities: Iterable[str]) -> dict[str, str]:
        """Return the feature that is each quantity.

        Parameters
        ----------
        name
            The input, for messages.
        features
            Its features.
        quantities
            Some of "pt", "eta", "phi" and "mass". Where "energy" is there instead of "mass", the result has that.

        Raises
        ------
        ValueError
            When one is not there; the message names the remedy.
        """
        feature_of = {quantity: getattr(self, quantity) or quantity for quantity in quantities}
        if feature_of.get("mass") not in features and self.mass is None and (self.energy or "energy") in features:
            feature_of = {"energy" if q == "mass" else q: f for q, f in feature_of.items()} | {
                "energy": self.energy or "energy"
            }
        for quantity, feature in feature_of.items():
            if feature not in features:
                raise ValueError(
                    f"inputs.{name}: the model needs {quantity!r} of its constituents and there is no feature "
                    f"{feature!r}: add it to inputs.{name}.features, e.g. '- {quantity}: <expression>', or say with "
                    f"model.kinematics.{name}.{quantity} which feature it is"
                )
        return feature_of


class MomentumOptions(Strict):
    """A model that needs ``momenta`` of the constituents; ``kinematics`` says of an input which features they are."""

    kinematics: dict[Identifier, Kinematics] = {}
    """For an input, which of its features are the momenta, where they are not called so: ``{jets: {pt: jet_pt}}``."""
    momenta: ClassVar[tuple[str, ...]]

    def check_momenta(self, inputs: Mapping[str, Input]) -> None:
        """Raise a ValueError when an input lacks them, or none has constituents."""
        sets = {name: block.feature_names for name, block in inputs.items() if block.collection is not None}
        if not sets:
            raise ValueError("model.type: this model needs an input with a 'collection': add one, or use 'mlp'")
        for name in self.kinematics:
            if name not in sets:
                raise ValueError(f"model.kinematics.{name}: no input with a 'collection' is called so")
        for name, features in sets.items():
            self.kinematics.get(name, Kinematics()).find(name, features, self.momenta)
