"""Numbers made of result rows: pure functions of tables, which know nothing of pages or mirrors."""
