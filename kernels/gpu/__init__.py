"""GPU traversals: one thread a lane, the formulas those of the CPU."""
