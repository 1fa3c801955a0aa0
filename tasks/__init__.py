"""What each stage does, as functions a test can call with a folder."""
