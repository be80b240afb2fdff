"""The embedder: trains models on who read what, and turns posts into vectors."""

import os

# Threads of torch that spin while they wait are many times slower beside other busy processes.
# OpenMP reads this once, when torch is imported, which happens later on.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
