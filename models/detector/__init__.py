"""The detector: network, configuration and loss. Its training is in `tasks.detection`."""
