"""Where trainings are recorded, a file for each."""
