"""What an examination has found, as tables and as one page."""
