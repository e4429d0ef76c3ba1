"""What a fit reads of its images.

It has coefficients by resolution, what stands out, and what stands against a fit.
"""
