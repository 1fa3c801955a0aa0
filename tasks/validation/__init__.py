"""Which rows of a catalogue are fit for use: checks, Great Expectations, verdict, report."""
