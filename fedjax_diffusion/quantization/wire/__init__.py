"""The wire format: updates as bytes."""
