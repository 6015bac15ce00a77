"""A worker of a search whose trials take no training: started by tests as a process of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nanoforge.config.search import Search
from nanoforge.tuning import study as module
from nanoforge.tuning.study import Study
from optuna.distributions import FloatDistribution

SPACE = {"training.learning_rate": FloatDistribution(1e-4, 1e-1, log=True)}
BLOCK = {"parameters": {"training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}}


def open_study(path: Path, trials: int, **changes) -> Study:
    return Study(path, {"toy": 1}, Search.model_validate(BLOCK | changes), SPACE, 9, trials)


def work(study: Study, seconds: float = 0.0) -> int:
    """Do trials as long as there are any, each so long; return how many."""

    def objective(trial) -> float:
        time.sleep(seconds)
        return abs(trial.params["training.learning_rate"] - 0.01)

    count = 0
    while (trial := study.claim()) is not None:
        count += study.run(trial, objective) is not None
    return count


if __name__ == "__main__":
    module.BEAT, module.SILENCE = 0.2, 30.0
    print(work(open_study(Path(sys.argv[1]), int(sys.argv[2])), float(sys.argv[3])))
