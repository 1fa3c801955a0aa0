"""What a flow run leaves to look at: artifacts and plots."""
