"""Particle images in our conventions: the only place that knows those of other programs."""
