"""What the larger commands do, one file each; `selfportrait/cli.py` holds their options and help."""
