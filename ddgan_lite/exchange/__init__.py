"""To and from the formats of others.

Here live the reader of published checkpoints and the writer of models that run in a web page. A
format of our own is in ``files``.
"""
