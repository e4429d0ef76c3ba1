"""Where each particle is along the motions: by linear steps, wide looks, or all images together
where they are weak.
"""
