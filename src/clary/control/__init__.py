"""The control plane's state: one SQL store, one module an entity."""
