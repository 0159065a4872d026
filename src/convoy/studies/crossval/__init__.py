"""Cross-validation: the accuracy of a recipe on unseen images, measured once on every training image.

The training images are split into folds. For each fold, a network is trained on the other folds and scored on this one;
its best epoch is selected, and early stopping decided, on a validation set of the other folds. The test set stays
closed.
"""
