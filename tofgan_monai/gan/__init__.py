"""The three GANs: networks, objectives, the adversarial step, generation, private training."""
