"""The page of the web service in a real browser, with the real service and the nano weights."""
