// A shared library needs one source of its own; everything in it comes from the layers.
