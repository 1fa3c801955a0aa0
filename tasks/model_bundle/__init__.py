"""The networks of a bundle as files: exported, compared with torch, made int8 where that pays.

What a bundle learns on dev queries is in `calibration`; what a shop reads is `unbundle.encoding`.
"""
