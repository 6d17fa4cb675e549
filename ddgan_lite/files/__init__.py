"""What is kept on disk: weights, their cards, the results of long runs.

Here live the one format of every file of weights (safetensors, written whole or not at all, checked
when read), the card that such a file carries, and the numbers in ``book/results``. Nothing here
knows what the weights mean: it names tensors and headers, no network and no training.
"""
