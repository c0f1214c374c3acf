"""The judge: counts of one tick and the evidence so far in, evidence and a verdict out. Start at ``decide``."""
