"""Planning of a round: its channel, allocation problem, allocation and baselines."""
