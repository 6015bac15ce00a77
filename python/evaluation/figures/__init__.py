"""The figures of an evaluation, a file each: what is here is in every report and MLflow run.

To add one, write a file with one class derived from :class:`.ReportFigure`. A package of yours adds one by an entry
point of the group ``nanoforge.figures``, and an analysis file by ``evaluation: {figures: ["module:name"]}``, a function
or a class.
"""
