"""The networks: UNets, text encoders, autoencoders, and the generator that is built of them."""
