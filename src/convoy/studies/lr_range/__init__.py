"""The learning-rate range test: a short run with a rising rate; where does the loss fall, and where does it diverge?

L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3. https://arxiv.org/abs/1506.01186
"""
