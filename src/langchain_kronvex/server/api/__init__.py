"""The endpoints of the REST API, and the models of their requests and responses."""
