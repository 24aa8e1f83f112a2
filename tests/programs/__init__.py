"""Programs made at random, run on a real cluster beside their answer."""
