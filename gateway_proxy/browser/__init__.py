"""What pages for people share: signed-in session, CSRF, headers, templates, authenticate(). No page of its own."""
