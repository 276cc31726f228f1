"""The data card beside a collected set: what a person must know who gets the images."""
