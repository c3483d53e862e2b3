"""Methods of the allocator, one file each."""
