"""What training rows weigh: classes among each other, distributions, negative weights; or rows drawn instead."""
