"""Which figures an evaluation has, and what each one means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from . import figures
from .results import Results
from .scored import Prediction
from .statistics import Array
from .summary import signals


@dataclass(frozen=True)
class Plot:
    """A figure with the name of its file, its title, and what it means in a sentence."""

    name: str
    title: str
    meaning: str
    figure: Figure


def plots(results: Results, histories: Sequence[Mapping[str, Array]]) -> Iterator[Plot]:
    """Yield the figures of an evaluation, drawn one at a time; ``histories`` holds the loss curves of each fold."""
    yield from _classification(results) if results.task == "classification" else _regression(results)
    yield from _training(results, histories)


def _classification(results: Results) -> Iterator[Plot]:
    yield from _separation(results)
    yield from _decisions(results)


def _separation(results: Results) -> Iterator[Plot]:
    train, test, classes, summary = results.train, results.test, results.outputs, results.test_summary
    yield Plot(
        "roc",
        "ROC curve",
        "How much background passes a cut on the score that keeps a given fraction of the signal: the further below "
        "the dotted line of a random choice, the better.",
        figures.roc(test, classes, summary),
    )
    yield Plot(
        "roc_log",
        "ROC curve, logarithmic",
        "The same where little background is left; the dots mark 50 % and 80 % signal efficiency, and the curve ends "
        "where about ten background events remain.",
        figures.roc_log(test, classes, summary),
    )
    for name in signals(classes):
        yield Plot(
            f"score_{name}",
            f"Score of {name}",
            "Densities of the score for each true class, of training rows (filled) and test rows (points with "
            "statistical errors): where they differ and the Kolmogorov-Smirnov p value is small, the model is "
            "overtrained.",
            figures.scores(train, test, classes, name, results.tests),
        )


def _decisions(results: Results) -> Iterator[Plot]:
    test, classes, summary = results.test, results.outputs, results.test_summary
    yield Plot(
        "precision_recall",
        "Purity and efficiency",
        "Fraction of the selected weight that is signal, against the fraction of the signal that is selected; dotted "
        "is the purity without a selection. It depends on the normalisation of the samples.",
        figures.precision_recall(test, classes, summary),
    )
    yield Plot(
        "confusion_by_truth",
        "Confusion matrix by truth",
        "Where the rows of each true class go when the class of the highest score is chosen: each line sums to 1.",
        figures.confusion(results.confusion, classes, 1),
    )
    yield Plot(
        "confusion_by_prediction",
        "Confusion matrix by prediction",
        "What the rows of each predicted class truly are, with the normalisation of the samples: each column sums "
        "to 1.",
        figures.confusion(results.confusion, classes, 0),
    )
    yield Plot(
        "calibration",
        "Calibration",
        "How often a class is true where its score is p, for the class balance of the training; on the dotted line the "
        "score is a probability.",
        figures.calibration(test, classes, summary),
    )


def _regression(results: Results) -> Iterator[Plot]:
    for name, rows in results.predictions.items():
        yield from _residuals(results, rows, name)
        yield from _uncertainty(results, rows, name)


def _residuals(results: Results, rows: Prediction, name: str) -> Iterator[Plot]:
    yield Plot(
        f"residuals_{name}",
        f"Residuals of {name}",
        "Prediction minus truth; the resolution is half the width of the central 68 %.",
        figures.residuals(rows, name, results.test_summary),
    )
    yield Plot(
        f"true_predicted_{name}",
        f"Truth and prediction of {name}",
        "Where the rows lie; on the dashed line the prediction is exact.",
        figures.true_predicted(rows, name),
    )
    yield Plot(
        f"bins_{name}",
        f"Resolution and bias of {name}",
        "Resolution and bias in bins of the true value with equally many rows; a slope of the bias means that the "
        "predictions are pulled to the middle of the training sample.",
        figures.target_bins(results.bins[name], name),
    )


def _uncertainty(results: Results, rows: Prediction, name: str) -> Iterator[Plot]:
    if rows.pull is not None:
        yield Plot(
            f"pulls_{name}",
            f"Pulls of {name}",
            "Prediction minus truth in units of the predicted sigma; it follows the standard normal distribution "
            "(dashed) where sigma is right: wider means that sigma is too small.",
            figures.pulls(rows, name, results.test_summary),
        )
    if rows.coverage:
        yield Plot(
            f"coverage_{name}",
            f"Coverage of {name}",
            "How much of the truth lies below each predicted quantile; on the dotted line it is as much as it should.",
            figures.coverage(rows, name),
        )


def _training(results: Results, histories: Sequence[Mapping[str, Array]]) -> Iterator[Plot]:
    yield Plot(
        "loss",
        "Loss",
        "Loss by epoch, training dashed and validation solid, of each fold; the dot marks the best validation loss. "
        "A validation loss that rises while the training loss falls means overtraining.",
        figures.loss(histories),
    )
    yield Plot(
        "importance",
        "Permutation importance",
        f"How much the {results.watched} drops when the values of one feature are shuffled among the test rows "
        "(constituents: among all constituents), with the spread of the permutations; correlated features "
        "share their importance.",
        figures.importance(results.importance, results.watched),
    )
