"""What is learned by gradient, nn.Modules.

They are encoders, decoders, the posterior of a segmentation, and the volume field.
"""
