"""Prefect itself: the server and worker, deployments, automations.

The flows that it starts are the modules of `flows`; how they run things is in `running`.
"""
