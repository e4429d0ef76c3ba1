"""Density from images: backprojection, half-maps, maps around latents and maps that follow a motion."""
