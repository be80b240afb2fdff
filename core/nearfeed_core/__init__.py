"""Pure computation that several services share; numpy and numba only."""
