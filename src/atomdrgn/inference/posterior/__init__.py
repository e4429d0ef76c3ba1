"""Where each particle is along the motions: by linear steps.

Methods take wide looks, or all images together where single ones are weak.
"""
