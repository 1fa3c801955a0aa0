"""Reports of flow runs: Prefect artifacts, and DVC's plots as one page."""
