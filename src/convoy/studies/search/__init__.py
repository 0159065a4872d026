"""The search: finds the values of some recipe keys that give the highest validation accuracy. Trials are scored on the
validation set. Because the best of many scores is too high, the winner is retrained with fresh seeds, and only these
runs open the test set. With the fault selection_on_test, trials are scored on the test set, as in some published
searches.
"""

import warnings

# Warning of tqdm, which optuna imports, in a notebook without ipywidgets
warnings.filterwarnings("ignore", message="IProgress not found")
