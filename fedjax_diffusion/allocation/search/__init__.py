"""Finds one price by which all clients choose: the machinery under the methods of the allocator."""
