"""NanoForge: from a CMS physics process to a trained, deployed model with one analysis file."""

__version__ = "0.1.0"
