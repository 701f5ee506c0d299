"""What `make bench` runs: ratios of medians, the things compared taking turns in one run."""
