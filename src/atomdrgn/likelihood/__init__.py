"""What the images say: noise, image likelihoods, restraints.

Values are unreduced, one an image or a particle.
"""
