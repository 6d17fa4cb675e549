"""Models to compare with, trained on the same data by the same rules."""
