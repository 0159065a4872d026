"""The contents of a data set: classes, pixel values, duplicate images."""
