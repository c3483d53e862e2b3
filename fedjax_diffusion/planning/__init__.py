"""From the channel of a round to its allocation problem, plan and baselines."""
