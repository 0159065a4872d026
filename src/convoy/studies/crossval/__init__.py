"""Cross-validation: the accuracy of a recipe on unseen images, measured once on every training image.

The training images are split into folds. For each fold, a network is trained on the other folds and scored on this one.
A validation set, split off from the other folds, selects the best epoch and decides early stopping. The test set stays
closed.
"""
