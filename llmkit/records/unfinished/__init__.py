"""Results that are being written, and what a killed command left of them."""
