"""What a test left behind: who made it, where, for which scope, and whether it went away."""
