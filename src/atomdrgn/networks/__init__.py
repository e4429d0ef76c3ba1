"""What is learned by gradient, nn.Modules: encoders, decoders, the posterior of a segmentation, the
volume field.
"""
