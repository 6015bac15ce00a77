"""Networks and tasks: plain torch, without data sets or stages."""
