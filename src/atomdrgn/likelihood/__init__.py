"""What the images say: noise, image likelihoods, restraints; unreduced, one value an image or a
particle.
"""
