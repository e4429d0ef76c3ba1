"""What is learned by gradient: networks and the segmentation, as modules."""
