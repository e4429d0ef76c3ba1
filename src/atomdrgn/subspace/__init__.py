"""A mean volume and its principal components straight from images, in closed form."""
