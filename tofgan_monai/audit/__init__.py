"""Privacy audit: measures what synthetic pairs, their generator or a segmentation network give away about patients."""
