"""Where bundles lie, and how a bundle's configuration is run."""
