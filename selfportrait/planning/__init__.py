"""What a run would do and take, without doing it: one file a recipe, found by the recipe's name."""
