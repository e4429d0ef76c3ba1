"""Where a fit starts when particles are far from the base model: parts of it turned every way."""
