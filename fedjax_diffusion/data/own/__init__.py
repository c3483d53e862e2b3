"""Own pictures: a folder of image files, or one NumPy file."""
