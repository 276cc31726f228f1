"""Files, hashing, locks, processes, devices, code digests: nothing of images or models in it."""
