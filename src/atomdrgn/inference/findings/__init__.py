"""What a fit says in the end.

Supported motions, ensemble, groups, states, composition, and its files.
"""
