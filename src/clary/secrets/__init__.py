"""Secrets: kept in AWS or in an encrypted file here, named by references, resolved where they are used."""
