"""How well images agree with a model, tilt by tilt."""
