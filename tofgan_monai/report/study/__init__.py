"""The HTML page of a study and its Markdown twin: sentences, tables and figures."""
