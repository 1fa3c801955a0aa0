"""What served queries tell: replay of recorded ones, drift since the champion was judged."""
