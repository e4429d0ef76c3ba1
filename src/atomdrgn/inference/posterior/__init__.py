"""Where each particle is along the motions: by linear steps.

Wide looks, or all images together where they are weak.
"""
