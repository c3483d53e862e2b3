"""The 2015 Inception network and its weights."""
