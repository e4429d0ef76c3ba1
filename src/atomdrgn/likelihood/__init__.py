"""What the images say: noise, image likelihoods, restraints.

Unreduced, one value an image or a particle.
"""
