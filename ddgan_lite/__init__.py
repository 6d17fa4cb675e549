"""Denoising Diffusion GANs: a compact library, and the one behind the book."""
