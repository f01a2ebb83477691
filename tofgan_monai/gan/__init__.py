"""The three GANs (DCGAN, WGAN-GP, WGAN-GP-SN): networks, losses, training step, generation and private training."""
