"""The learning-rate range test: a short run with a rising rate shows where the loss falls and where it diverges.

L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3. https://arxiv.org/abs/1506.01186
"""
