"""Images of beads: pixels, by the definition and quicker, and Fourier coefficients on a disc."""
