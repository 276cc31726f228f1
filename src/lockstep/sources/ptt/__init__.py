"""The PTT web board: its pages read, and walked through politely.

Nothing here is looked for beyond what the pages show to everybody who says to be of age.
"""
