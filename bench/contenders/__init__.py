"""The contenders, one class in one file each."""
