"""The methods of the allocator: one file each, from a problem to an allocation."""
