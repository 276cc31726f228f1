"""A replica of a web board, with the images its articles name, served on loopback.

The markup has the structure that the real board's pages have and is otherwise written anew; the
people, articles and images are made up. All is a function of a seed. Its hosts have fixed names
under `.example`, a domain that belongs to nobody: a client maps them to the server's port.
"""
