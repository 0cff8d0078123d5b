"""What operators and tenant administrators ask and change over HTTP. Behind scope `admin`; no page for people."""
