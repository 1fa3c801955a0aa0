"""Whether a candidate may serve: measured, judged by the gate, approved, carried out."""
