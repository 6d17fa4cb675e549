"""Denoising diffusion GANs: read this room and you have read the method.

Here live the model, which guesses x_0 and steps back through the posterior, the losses of the two
players with R1, and the moving average of the weights. How they are trained, for how long and on
what belongs to ``training``; what a network looks like inside, to ``networks``.
"""
