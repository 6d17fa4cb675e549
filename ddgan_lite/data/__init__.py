"""What models learn from: points, digits, images in memory or on disk.

Here live the toy sets, the published image sets, folders, shards and streams of your own. A set has
``sample(n, rng)``; images are floats in [-1, 1]. Nothing here knows a model.
"""
