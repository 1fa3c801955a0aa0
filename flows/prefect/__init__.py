"""Prefect itself: the server and worker, deployments, automations."""
