"""What tests and fixtures ask for: pure, known before anything runs."""
