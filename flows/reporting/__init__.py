"""What a flow run leaves to look at: artifacts and plots.

The figures in them are made by stages, in `tasks`; nothing is run from here.
"""
