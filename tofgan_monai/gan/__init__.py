"""The GANs (DCGAN, WGAN-GP, WGAN-GP-SN, R3GAN): networks, losses, training step, generation and private training."""
