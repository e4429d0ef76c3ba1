"""What is known of all particles together: priors, densities and surfaces of latent coordinates."""
