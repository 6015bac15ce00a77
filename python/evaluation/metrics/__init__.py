"""The figures of merit, a file each: what is here is in every evaluation, report, comparison and MLflow run.

To add one, write a file whose name is that of the metric, with one class derived from :class:`.ClassMetric`,
:class:`.ScoreMetric` or :class:`.TargetMetric`. A package of yours adds one by an entry point of the group
``nanoforge.metrics``, an analysis file by ``evaluation: {functions: ["module:name"]}``.
"""
