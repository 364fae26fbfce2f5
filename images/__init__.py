"""Where pixels come from: references into folders, packed files and archives, and the datasets make-cifar reads."""
