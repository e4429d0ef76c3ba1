"""A volume for every particle from its images alone: data, training, and maps of a field."""
