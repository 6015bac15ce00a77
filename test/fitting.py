"""Trainings without what the stage puts around them."""

from __future__ import annotations

from pathlib import Path

from datasets import make_analysis
from nanoforge.balance.balancer import Balancer, compute_factors
from nanoforge.dataset.open import open_dataset
from nanoforge.provenance import fingerprint
from nanoforge.stages.train import model_spec
from nanoforge.training.devices import join_processes
from nanoforge.training.fit import Fit, seed_generators
from nanoforge.training.start import new_model

DEEPSETS = {"type": "deepsets", "constituent": [16], "hidden": [16], "dropout": 0.2}
PLAIN = {"type": "mlp", "hidden": [16]}


def options(model=DEEPSETS, regression=False, **training):
    """An analysis that is trained quickly, on a dataset of 1000 rows in 8 steps per epoch."""
    quick = {"epochs": 3, "batch_size": 128, "learning_rate": 0.01, "seed": 3, "accelerator": "cpu", "patience": 9}
    return make_analysis(1, regression, model=model, training=quick | training)


def make_fit(analysis, data: Path, folder: Path) -> Fit:
    folder.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(data)
    dataset.load_columns(analysis.training.balance.columns)
    balancer = Balancer(compute_factors(analysis.training.balance, dataset, 0), dataset)
    seed_generators(analysis.training.seed)
    model = new_model(model_spec(analysis, dataset.info), dataset, 0)
    key = fingerprint(analysis.model_dump(mode="json"))
    return Fit(join_processes(analysis.training), analysis.training, dataset, model, 0, folder, key, balancer)


def run(analysis, data: Path, folder: Path):
    """Train, and return the last weights and the history."""
    fit = make_fit(analysis, data, folder)
    history = fit.run()
    return fit._model.state_dict(), history
