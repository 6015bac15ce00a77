"""The search for hyperparameters: its trials, their results and figures."""
