"""The generators: GANs (DCGAN, WGAN-GP, WGAN-GP-SN) and a refiner of simulated anatomy, which has no critic.

Networks, losses, training steps, generation and private training.
"""
