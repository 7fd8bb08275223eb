"""From text to binarised data: archives, raw text, cleaning, tokens, sub-words, and the preparation that joins them."""
