"""The maze in a terminal: the keyboard, the pictures, and the screen."""
