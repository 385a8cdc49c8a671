"""The models and the contract that they obey; import `tfganomaly.models.registry` to build one by name."""
