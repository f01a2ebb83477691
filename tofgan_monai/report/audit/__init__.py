"""The HTML page of a privacy audit: its values, tables and figures. The templates are in report/templates/audit."""
