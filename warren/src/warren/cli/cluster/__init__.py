"""`warren doctor --kubernetes`: read an installation's objects, and judge them."""
