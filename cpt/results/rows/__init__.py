"""Result rows: their schema, the table, measures, published numbers."""
