"""The PTT web board: what its pages show to everybody who says to be of age, read politely."""
