"""What the command line shows: status, doctor, bench, pictures of answers.

The commands and their options are in `unbundle.cli`; the service is in `http`.
"""
