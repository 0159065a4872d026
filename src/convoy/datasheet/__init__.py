"""What a data set contains, without training: its classes, its pixels, its duplicate images."""
