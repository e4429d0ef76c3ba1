"""What the images say without the base model.

Maps on the latents of a run, and the support of each residue.
"""
