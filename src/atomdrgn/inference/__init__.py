"""How a model is fitted: to the images of each particle, and to all of them together."""
