"""Reports on runs, comparisons, studies and sweeps, made from their folders alone."""
