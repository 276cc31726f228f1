"""Files that go into an exported folder as they are; they import torch and diffusers alone."""
