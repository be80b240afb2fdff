"""Who read what to vectors: PinSage (Ying et al., KDD 2018), trained for the score that is served."""

import os

os.environ.setdefault("DGLBACKEND", "pytorch")
