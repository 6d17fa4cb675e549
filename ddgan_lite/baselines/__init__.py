"""Models to compare with, trained on the same data by the same rules.

Here live the rivals of the trilemma, each one file, how they are fitted, and the measurement that
puts them side by side. Nothing else in the library may need them.
"""
