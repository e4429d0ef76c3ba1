"""What is learned by gradient, nn.Modules.

Encoders, decoders, the posterior of a segmentation, the volume field.
"""
