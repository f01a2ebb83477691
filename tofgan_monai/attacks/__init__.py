"""What an attacker learns about patients from pairs or from networks."""
