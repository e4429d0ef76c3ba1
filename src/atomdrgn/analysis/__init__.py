"""What users take from a run: tables, structures, particle files, volumes, a report."""
