"""Stand-ins made on the spot for data sets that cannot be fetched."""
