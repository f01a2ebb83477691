"""Image-label pairs, stacks (files of many pairs), and the sampling of pairs from volumes."""
