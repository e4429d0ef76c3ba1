"""How a model is fitted: the closed-form population fit, its schedule, progress and checkpoints."""
