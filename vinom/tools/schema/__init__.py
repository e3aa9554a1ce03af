"""
``vinom schema``.

Write what a game and its clients exchange as a JSON Schema, or as types of TypeScript,
C# or GDScript, and compare it with what was agreed before.
"""
