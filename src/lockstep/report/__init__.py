"""One static HTML page about a workload: what it was made from, with what, and what came out.

`gather` reads files and git and gives dataclasses; `page` makes HTML of them. The page needs
neither network nor JavaScript, and has no dates: the same inputs give the same bytes. May import
every other package; only the command imports it.
"""
