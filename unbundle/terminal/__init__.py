"""What the command line shows: status, doctor, bench, pictures of answers."""
