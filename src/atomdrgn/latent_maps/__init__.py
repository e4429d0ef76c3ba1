"""Volumes on latents that are given: linear ones, and ones of the images near a latent."""
