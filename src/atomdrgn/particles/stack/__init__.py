"""A stack of particles: poses, optics, and images that are read when they are wanted."""
