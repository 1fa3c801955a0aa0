"""Which rows of a catalogue are fit for use: checks, Great Expectations, verdict, report.

Whether a file is a catalogue's table at all is read in `data`, and refused there by line.
"""
