"""Instructions and register pieces that the rules are written with."""
