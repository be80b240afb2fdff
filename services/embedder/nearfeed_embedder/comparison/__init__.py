"""`nearfeed evaluate`: compares runs, baselines and blends on the same split, and writes a report."""
