"""HTTP: requests in, documents and problems out."""
