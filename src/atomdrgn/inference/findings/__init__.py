"""What a fit says in the end.

Supported motions, the ensemble, groups, states and the composition are told, and written to files.
"""
