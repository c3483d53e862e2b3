"""One band that all clients share: what bandwidth costs, and what it buys."""
