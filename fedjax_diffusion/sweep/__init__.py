"""Many runs as one command: their definition, identity, folder and index."""
