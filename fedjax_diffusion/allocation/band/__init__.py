"""One band shared by all clients: its price, its division and its limits."""
