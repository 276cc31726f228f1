"""Where pictures come from: each module ends in a folder of pictures with their conditions."""
