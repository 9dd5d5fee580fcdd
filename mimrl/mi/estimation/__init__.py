"""Information between columns of a file, with a permutation control beside it."""
