"""To and from the formats of others.

Here live the reader of published checkpoints, the writers of models for web pages and for ONNX, the
pipeline for diffusers and the way to the Hugging Face hub. A format of our own is in ``files``.
"""
