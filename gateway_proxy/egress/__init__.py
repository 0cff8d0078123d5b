"""The one way out: which addresses may be reached, and the HTTP that reaches them. No knowledge of MCP or OAuth."""
