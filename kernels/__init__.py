"""The same quantities fast: losses, memory sums, trajectories and ensembles as code compiled by Numba."""
