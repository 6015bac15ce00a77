"""Where the Python of batch jobs comes from: a file for each environment, called as the analysis file calls it."""
