"""Images with a sentence each, in the form of `lockstep.data.captions`; rendered or brought in."""
