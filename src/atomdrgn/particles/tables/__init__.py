"""Tables of particle files in our conventions: what their columns and fields mean."""
