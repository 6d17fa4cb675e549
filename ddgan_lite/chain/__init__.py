"""The fixed half of the method: noise levels, exact posteriors, random numbers.

Here live the chain from data to noise (any levels), mixtures of Gaussians, for which every
distribution along it is exact, and the random numbers that several processes share. Nothing here
is trained, and nothing here knows a network.
"""
