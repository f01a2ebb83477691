"""Where bundles lie and how one is run."""
