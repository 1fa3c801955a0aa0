"""What served queries tell: replay of recorded ones, drift since the champion was judged.

They are recorded by `unbundle.recording`; labelled queries are asked in `evaluation`.
"""
