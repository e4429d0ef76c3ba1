"""Heterogeneous cryo-EM reconstruction that ends in atomic structures: one for every particle."""
