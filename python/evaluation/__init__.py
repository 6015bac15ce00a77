"""What a trained model is worth: figures of merit, figures and report, from arrays of scores and truth."""
