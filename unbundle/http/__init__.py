"""The REST service and its page: routes, admission, workers, the champion in service.

What is answered is found in `query`; the command line's pictures are in `terminal`.
"""
