"""How good samples are: scores with a stated protocol.

Here live the scores on mixtures and digits, a small judge of digits for machines without
Inception, and FID and its kin by torch-fidelity. A score takes samples and what they are compared
with; nothing here trains the model that is scored.
"""
