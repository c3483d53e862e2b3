"""Searches for one price by which all clients choose: the basis of the allocator's methods."""
