"""The hosted store's server side: its schema, how it is applied, and who may do what there."""
