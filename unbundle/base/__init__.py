"""What everything in a shop rests on: errors, whole files, limits. Knows nothing of products."""
