"""What the configuration of a bundle from a stranger may say."""
