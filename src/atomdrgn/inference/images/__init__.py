"""What a fit reads of its images.

Coefficients by resolution, what stands out, what stands against a fit.
"""
