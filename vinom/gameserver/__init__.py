"""The program that hosts matches and talks UDP to players."""
